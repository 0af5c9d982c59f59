"""The model server's heart: admits requests, runs them on workers with their model, and answers with their audio."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Callable, MutableMapping
from enum import StrEnum
from typing import Any, Protocol, cast

import structlog
from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from voxraga_runtime.common.errors import ClientGone, NotFound, SynthesisFailed, Unavailable, VoxragaError
from voxraga_runtime.common.metrics import ServerMetrics
from voxraga_runtime.common.settings import ServerSettings
from voxraga_runtime.server.admission import Admission
from voxraga_runtime.server.cache import Cache, Recording, Replay, key_of
from voxraga_runtime.server.engines.base import Engine, FloatArray, Word
from voxraga_runtime.server.engines.processes import ProcessEngine
from voxraga_runtime.server.engines.transcribe import Transcriber
from voxraga_runtime.server.models import stored as stores
from voxraga_runtime.server.models.model import Model, prepare, settings_for
from voxraga_runtime.server.models.registry import RETRY_WHILE_LOADING, Registry
from voxraga_runtime.server.models.stored import Stored
from voxraga_runtime.server.relay import Parts, as_events, cancel_unless_done, cancel_when, relayed, watch
from voxraga_runtime.server.render import Rendered, Speech, render
from voxraga_runtime.server.requests import Ask, Catalogue
from voxraga_runtime.server.transcription import Listen, Transcription, Transcriptions
from voxraga_runtime.server.workers import Job, Workers, cpu_limit, slots
from voxraga_runtime.store.uploads import Uploads

log = structlog.get_logger()


class State(StrEnum):
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Connection(Protocol):
    """Whatever a request came by: an HTTP request, a WebSocket, or a stand-in with a scope of its own."""

    @property
    def scope(self) -> MutableMapping[str, Any]: ...


class SpeechService:
    """A model, served, and those that users brought. Make it inside the event loop; `start()` before `speak()`."""

    def __init__(
        self,
        settings: ServerSettings,
        metrics: ServerMetrics,
        make_engine: Callable[[], Engine | Transcriber],
        setup_thread: Callable[[], None],
        *,
        uploads: Uploads | None = None,
        open_engine: Callable[[ServerSettings], Engine] | None = None,
    ) -> None:
        """`make_engine` is the own model's, `open_engine` any other's: with the settings that go for that one."""
        self.settings = settings
        self.metrics = metrics
        self.state = State.LOADING
        self.draining = asyncio.Event()  # for those who must be told: open streams
        self.stored = stores.read(settings.model_name, settings.model_path)
        self.models = Registry(settings, metrics, uploads, self._open, setup_thread)
        self._make_engine = make_engine  # called in a worker: importing torch takes seconds
        self._open_engine = open_engine
        self._own: Model | None = None
        self._transcriptions: Transcriptions | None = None
        self._jobs: set[Job] = set()
        self._overseers: set[asyncio.Task[None]] = set()
        count = slots(settings, cpu_limit())
        self.admission = Admission(count, settings.queue_depth, settings.queue_timeout)
        self._workers = Workers(count, setup_thread)
        self._cache = Cache(settings.response_cache_bytes)
        metrics.cache_bytes.set_function(lambda: self._cache.bytes)
        metrics.queue_size.set_function(lambda: self.admission.waiting)
        metrics.in_flight.set_function(lambda: self.admission.running)

    async def start(self) -> None:
        """Load, warm up, become ready. Raises StartupError."""
        started = time.perf_counter()
        job = Job()
        self._workers.start(job, self._load)
        async for _ in job.chunks():
            pass
        seconds = time.perf_counter() - started
        self.metrics.load_seconds.set(seconds)
        if self._own is not None:
            self.metrics.model_loads.labels("loaded").inc()
            if self._own.lane.width:  # its requests would only wait inside the workers: let them wait in the queue
                self.admission.slots = min(self.admission.slots, self._own.lane.width)
            self.models.start(self._own)
        if self.state is State.LOADING:
            self.state = State.READY
            gains = self._own.gains if self._own else {}
            log.info("ready", seconds=round(seconds, 2), workers=self.admission.slots, gains=gains)

    def _load(self, _job: Job) -> None:
        engine = self._make_engine()
        if self.settings.task == "SpeechToText":
            transcriptions = Transcriptions(cast("Transcriber", engine), self.admission, self._workers, self._jobs)
            transcriptions.engine.load()
            transcriptions.warm_up()
            self._transcriptions = transcriptions
            self.metrics.models_loaded.set_function(lambda: 1)
            return
        self._own = self._prepare(self.settings, cast("Engine", engine), self.stored)

    def _open(self, stored: Stored) -> Model:
        """Load another model; in a thread of the registry's."""
        assert self._open_engine is not None
        settings = settings_for(self.settings, stored)
        return self._prepare(settings, self._open_engine(settings), stored)

    def _prepare(self, settings: ServerSettings, engine: Engine, stored: Stored) -> Model:
        if isinstance(engine, ProcessEngine):
            engine.on_restart = self.metrics.worker_restarts.inc
        return prepare(settings, engine, stored)

    def offer(self) -> tuple[Engine, Catalogue]:
        """The own model's engine and what it offers; raises what `require_ready` does."""
        self.require_ready()
        if self._transcriptions is not None:
            raise NotFound(f"{self.settings.model_name} turns speech into text; it does not speak")
        assert self.models.own is not None
        return self.models.own.engine, self.models.own.catalogue

    def require_ready(self) -> None:
        """Raises Unavailable before the own model is ready, and once the server drains."""
        self._refuse_while_draining()
        if self.models.own is None and self._transcriptions is None:
            raise Unavailable("the model is being loaded", code="loading", retry_after=RETRY_WHILE_LOADING)

    def _refuse_while_draining(self) -> None:
        if self.state is State.DRAINING:
            raise Unavailable("the server is shutting down; send the request again", code="draining", retry_after=1)

    async def transcribe(self, pcm16k: FloatArray, listen: Listen, gone: asyncio.Event) -> Transcription:
        """Turn mono samples at 16 kHz into text; `gone` is to be set when the client leaves.

        Returns once a worker has begun; raises the errors of common.errors. See transcription.Transcription.
        """
        self._refuse_while_draining()
        if self.settings.task != "SpeechToText":
            raise NotFound(f"{self.settings.model_name} speaks; it does not turn speech into text")
        if self._transcriptions is None:
            raise Unavailable("the model is being loaded", code="loading", retry_after=RETRY_WHILE_LOADING)
        return await self._transcriptions.start(pcm16k, listen, gone)

    async def speak(self, request: Request, ask: Ask) -> Response:
        """Answer one request with audio; raises the errors of common.errors before the first byte was sent."""
        gone = asyncio.Event()
        watcher = asyncio.create_task(watch(request, gone))
        try:
            speech, job = await self._begin(request, ask, gone)
        except BaseException:
            watcher.cancel()
            raise
        leaving = asyncio.create_task(cancel_when(gone, job))
        parts = Parts(job, gone, (watcher, leaving))
        try:
            first = await parts.first(whole=not speech.streamed)
        except ClientGone:
            request.scope["state"]["client_gone"] = True
            raise
        except VoxragaError:
            raise
        except Exception as error:
            log.exception("synthesis failed", sentences=len(speech.utterance.sentences))
            raise SynthesisFailed("the model failed on this text; the server's log has the request id") from error
        headers = {"X-Sample-Rate": str(speech.rate)}
        if not speech.streamed:
            return Response(first, media_type=speech.format.content_type, headers=headers)
        if speech.events:
            events = as_events(parts.all(first), speech, job.words)
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        return StreamingResponse(parts.all(first), media_type=speech.format.content_type, headers=headers)

    async def hear(
        self, connection: Connection, ask: Ask, gone: asyncio.Event, *, words: list[Word] | None = None
    ) -> tuple[Speech, AsyncGenerator[bytes, None]]:
        """One speech over any transport: what was agreed on, and its encoded bytes as they come.

        Raises what `speak` raises; so does the iterator. The caller sets `gone` when its client leaves. A sentence's
        words are in `words` before its first bytes come.
        """
        speech, job = await self._begin(connection, ask, gone, words)
        overseer = asyncio.create_task(cancel_unless_done(gone, job))
        self._overseers.add(overseer)  # the loop itself keeps no hold of tasks
        overseer.add_done_callback(self._overseers.discard)
        return speech, relayed(job, gone)

    async def agree(self, ask: Ask, gone: asyncio.Event) -> Speech:
        """Check a request without speaking; raises what `hear` raises for it. Its model is loaded then."""
        ask = self._named(ask)
        model = await self.models.take(ask.model, gone)
        try:
            return model.catalogue.speech(ask)
        finally:
            self.models.give_back(model)

    def _named(self, ask: Ask) -> Ask:
        """The request with its model told apart from its voice: listings call another model's voice `model/voice`."""
        _, catalogue = self.offer()
        model, slash, voice = (ask.voice or "").partition("/")
        own = ask.voice in (*catalogue.voices, *catalogue.aliases)
        if not (model and slash) or own or not self.models.means_own(ask.model):
            return ask
        return dataclasses.replace(ask, model=model, voice=voice)

    async def _begin(
        self, connection: Connection, ask: Ask, gone: asyncio.Event, words: list[Word] | None = None
    ) -> tuple[Speech, Job]:
        """Find the model, check the request, wait for a slot. The model is kept until the worker has ended.

        An answer of the cache waits for nothing.
        """
        ask = self._named(ask)
        try:
            model = await self.models.take(ask.model, gone)
            try:
                speech = model.catalogue.speech(ask)
                key = key_of(model, speech) if self.settings.response_cache_bytes and not ask.anew else None
                if key and (job := self._known(connection, key, words)):
                    self.models.give_back(model)
                    return speech, job
                return speech, await self._admit(connection, model, speech, gone, words, key=key)
            except BaseException:
                self.models.give_back(model)
                raise
        except ClientGone:
            connection.scope["state"]["client_gone"] = True
            raise

    def _known(self, connection: Connection, key: bytes, words: list[Word] | None) -> Job | None:
        """The answer, if it is in the cache. Nothing is counted as spoken then."""
        answer = self._cache.find(key)
        outcome = "miss" if answer is None else "hit"
        connection.scope["state"]["cache"] = outcome  # X-Cache
        self.metrics.cache_requests.labels(outcome).inc()
        return None if answer is None else Replay(answer, words)

    async def _admit(
        self,
        request: Connection,
        model: Model,
        speech: Speech,
        gone: asyncio.Event,
        words: list[Word] | None,
        *,
        key: bytes | None,
    ) -> Job:
        """Wait for a slot and put the work on it; the slot is free again when the worker is, not when the client is.

        The answer is kept under `key`, if there is one.
        """
        waited = time.perf_counter()
        lease = await self.admission.acquire(gone, model.lane, size=speech.characters)
        self.metrics.queue_wait.observe(time.perf_counter() - waited)
        job = Job(words)
        self._jobs.add(job)
        arrived = request.scope["state"].get("started", waited)
        measured: list[Rendered] = []
        gain = model.gains[speech.utterance.voice]
        recording = Recording(self._cache, key, job, timestamps=speech.timestamps) if key else None

        def work(job: Job) -> None:
            put = recording.put if recording else job.put
            result = render(model.engine, speech, gain, put, job.cancelled, words=job.words)
            measured.append(result)
            if not result.complete:  # nobody may take a part for the whole
                raise Unavailable("the server stopped in mid-speech", code="draining", retry_after=1)
            if recording:
                recording.complete()

        future = self._workers.start(job, work)
        loop = asyncio.get_running_loop()

        def ended() -> None:
            lease.release()
            self.models.give_back(model)
            self._jobs.discard(job)
            self._record(measured, speech, arrived)

        def from_worker(_future: Any) -> None:
            # the loop is closed where the server was stopped without waiting
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended)

        future.add_done_callback(from_worker)
        return job

    def _record(self, measured: list[Rendered], speech: Speech, arrived: float) -> None:
        for result in measured:
            self.metrics.audio_seconds.inc(result.audio_seconds)
            if result.first_audio_at is not None:
                self.metrics.first_audio.observe(max(0.0, result.first_audio_at - arrived))
            if result.complete:
                self.admission.observe(result.work_seconds, speech.characters)
                self.metrics.characters.inc(speech.characters)
                self.metrics.real_time_factor.observe(result.work_seconds / result.audio_seconds)

    def drain(self) -> None:
        """Not ready any more, and nobody new is admitted."""
        self.state = State.DRAINING
        self.draining.set()
        self.admission.drain()

    async def finish(self) -> bool:
        """Wait for running and waiting requests, at most the drain timeout; returns whether all were finished."""
        try:
            await asyncio.wait_for(self.admission.idle(), self.settings.drain_timeout)
        except TimeoutError:
            log.warning("drain timeout", running=self.admission.running, waiting=self.admission.waiting)
            for job in self._jobs:
                job.cancel()
            return False
        return True

    def close(self) -> None:
        self._workers.close()
        self.models.close()
