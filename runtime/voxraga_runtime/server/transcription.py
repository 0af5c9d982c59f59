"""Speech to text on the workers: admission, the segments as they are found, and the end when the client leaves."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from voxraga_runtime.common.audio import FloatArray
from voxraga_runtime.common.errors import (
    ClientGone,
    InvalidRequest,
    StartupError,
    TranscriptionFailed,
    Unavailable,
    VoxragaError,
)
from voxraga_runtime.server.admission import Admission
from voxraga_runtime.server.engines.transcribe import RATE, Heard, Segment, Transcriber
from voxraga_runtime.server.workers import Job, Workers

log = structlog.get_logger()

SHORTEST = 0.1  # seconds; OpenAI's own limit
HOTTEST = 1.0


@dataclass(frozen=True, slots=True)
class Listen:
    """What a client asks for. `language` is a code or None, `prompt` text that came before; see Transcriber."""

    language: str | None = None
    prompt: str = ""
    temperature: float = 0.0
    seed: int = 0
    timestamps: bool = True
    words: bool = False
    translate: bool = False


class Transcription:
    """A transcription that has begun: `heard` is known, the segments come. Read them all, or `close()`."""

    def __init__(self, heard: Heard, job: Job, items: AsyncIterator[Any], close: Callable[[], None]) -> None:
        self.heard = heard
        self._job = job
        self._items = items
        self.close = close

    async def segments(self) -> AsyncIterator[Segment]:
        """The segments as they are found; raises the errors of common.errors."""
        try:
            async for segment in _named(self._items):
                yield segment
        finally:
            self.close()


class Transcriptions:
    """Runs a Transcriber's work for many clients. All methods but `warm_up` belong to the event loop's thread."""

    def __init__(self, engine: Transcriber, admission: Admission, workers: Workers, jobs: set[Job]) -> None:
        self.engine = engine
        self._admission = admission
        self._workers = workers
        self._jobs = jobs  # the service's, which cancels them when time is up

    def warm_up(self) -> None:
        """Listen to a second of noise. Raises StartupError (WarmupFailed)."""
        noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.01
        try:
            list(self.engine.transcribe(noise))
        except Exception as error:  # whatever a broken model raises
            raise StartupError("WarmupFailed", f"the warm-up failed: {type(error).__name__}: {error}") from error

    async def start(self, pcm16k: FloatArray, listen: Listen, gone: asyncio.Event) -> Transcription:
        """Wait for a worker and begin; returns once the language is known. `gone` is set when the client leaves.

        Raises the errors of common.errors, as admission does and InvalidRequest for what can't be heard.
        """
        language = self._check(pcm16k, listen)
        size = len(pcm16k)
        lease = await self._admission.acquire(gone, size=size)
        begun = time.perf_counter()
        job = Job()
        self._jobs.add(job)

        def work(job: Job) -> None:
            for item in self.engine.transcribe(
                pcm16k,
                language,
                listen.prompt,
                listen.temperature,
                seed=listen.seed,
                timestamps=listen.timestamps,
                words=listen.words,
                translate=listen.translate,
                cancelled=job.cancelled,
            ):
                job.put_item(item)
            if job.cancelled():  # nobody may take a part for the whole
                raise Unavailable("the server stopped in the middle", code="draining", retry_after=1)

        future = self._workers.start(job, work)
        loop = asyncio.get_running_loop()

        def ended() -> None:
            lease.release()
            self._jobs.discard(job)
            self._admission.observe(time.perf_counter() - begun, size)

        def from_worker(_future: Any) -> None:
            # the loop is closed where the server was stopped without waiting
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended)

        future.add_done_callback(from_worker)
        leaving = asyncio.create_task(_cancel_when(gone, job))

        def close() -> None:
            leaving.cancel()
            job.cancel()

        items = job.items()
        try:
            heard = await anext(_named(items))
            if gone.is_set():
                raise ClientGone("the client left")  # noqa: TRY301 - as where it leaves while we wait
        except BaseException:
            close()
            if gone.is_set():
                raise ClientGone("the client left") from None
            raise
        return Transcription(heard, job, items, close)

    def _check(self, pcm16k: FloatArray, listen: Listen) -> str | None:
        """The language's code, or None where the model is to find out."""
        if len(pcm16k) < SHORTEST * RATE:
            message = f"the audio is {len(pcm16k) / RATE:.2f} s long; at least {SHORTEST} s are needed"
            raise InvalidRequest(message, param="file", code="audio_too_short")
        if not 0 <= listen.temperature <= HOTTEST:  # also false of NaN
            raise InvalidRequest(f"temperature is {listen.temperature:g}; it must be 0 to 1", param="temperature")
        if listen.words and not self.engine.tells_words:
            message = "this model can't tell the words' times: its generation_config.json names no alignment_heads"
            raise InvalidRequest(message, param="timestamp_granularities", code="unsupported_by_model")
        if not listen.language:
            return None
        wanted = listen.language.replace("_", "-").split("-")[0].lower()
        if wanted not in self.engine.languages:
            known = ", ".join(self.engine.languages)
            raise InvalidRequest(f"language is {listen.language[:20]!r}; the model has {known}", param="language")
        return wanted


async def _named(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """What the worker gives; what it fails with becomes an error that a client may read."""
    try:
        async for item in items:
            yield item
    except VoxragaError:
        raise
    except Exception as error:
        log.exception("transcription failed")
        raise TranscriptionFailed("the model failed on this audio; the server's log has the request id") from error


async def _cancel_when(gone: asyncio.Event, job: Job) -> None:
    await gone.wait()
    job.cancel()
