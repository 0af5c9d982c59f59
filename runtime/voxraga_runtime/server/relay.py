"""A job's bytes on their way to a client: as a body, as OpenAI's events, or for another transport to send."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

import structlog
from fastapi import Request

from voxraga_runtime.common.errors import ClientGone, SynthesisFailed, VoxragaError
from voxraga_runtime.server.engines.base import Word
from voxraga_runtime.server.render import Speech
from voxraga_runtime.server.workers import Job

log = structlog.get_logger()


class Parts:
    """A job's bytes on their way into a response."""

    def __init__(self, job: Job, gone: asyncio.Event, tasks: tuple["asyncio.Task[None]", ...]) -> None:
        self._job = job
        self._gone = gone
        self._tasks = tasks
        self._chunks = job.chunks()

    async def first(self, *, whole: bool) -> bytes:
        """The first piece, or everything. After an error, or with everything, nobody has to be watched any more."""
        try:
            parts = [part async for part in self._chunks] if whole else [await anext(self._chunks, b"")]
        except BaseException:
            self._end()
            if self._gone.is_set():
                raise ClientGone("the client left") from None
            raise
        if whole:
            self._end()
        return b"".join(parts)

    async def all(self, first: bytes) -> AsyncIterator[bytes]:
        """The pieces, the first one again. An error breaks the connection off: no client takes a part for the whole."""
        try:
            yield first
            async for part in self._chunks:
                yield part
        except VoxragaError:
            if not self._gone.is_set():
                raise
        finally:
            self._end()

    def _end(self) -> None:
        self._job.cancel()
        for task in self._tasks:
            task.cancel()


async def relayed(job: Job, gone: asyncio.Event) -> AsyncGenerator[bytes, None]:
    """The bytes as they come. Raises ClientGone once `gone` is set, else what the job fails with."""
    try:
        async for part in job.chunks():
            yield part
    except VoxragaError:
        if gone.is_set():
            raise ClientGone("the client left") from None
        raise
    except Exception as error:
        log.exception("synthesis failed")
        raise SynthesisFailed("the model failed on this text; the server's log has the request id") from error
    finally:
        job.cancel()


async def cancel_unless_done(gone: asyncio.Event, job: Job) -> None:
    """Cancel the job of a client that left, also where nobody ever began to read what it makes."""
    waiting = [asyncio.create_task(event.wait()) for event in (gone, job.done)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    if gone.is_set():
        job.cancel()


async def watch(request: Request, gone: asyncio.Event) -> None:
    """Set `gone` when the client closes its connection; the body has been read, nothing else is to come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()


async def cancel_when(gone: asyncio.Event, job: Job) -> None:
    """For a response whose `Parts` end this task."""
    await gone.wait()
    job.cancel()


async def as_events(parts: AsyncIterator[bytes], speech: Speech, words: list[Word]) -> AsyncIterator[str]:
    """OpenAI's events: speech.audio.delta for each piece, speech.audio.done at the end, error if it breaks off.

    Ours: speech.audio.timestamps, before the audio that the words are in.
    """
    size = heard = 0
    try:
        async for part in parts:
            size += len(part)
            if speech.timestamps and (fresh := words[heard:]):
                heard += len(fresh)
                yield _event({"type": "speech.audio.timestamps", "words": timed(fresh)})
            yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()})
    except Exception as error:  # the status was sent long ago
        log.exception("synthesis failed while streaming")
        told = error if isinstance(error, VoxragaError) else SynthesisFailed("the model failed on this text")
        yield _event({"type": "error", **told.body()})
        return
    usage = {"input_tokens": speech.characters, "output_tokens": size, "total_tokens": speech.characters + size}
    yield _event({"type": "speech.audio.done", "usage": usage})


def timed(words: Iterable[Word]) -> list[dict[str, Any]]:
    """Words as OpenAI's transcriptions have them."""
    return [{"word": w.text, "start": round(w.start, 3), "end": round(w.end, 3)} for w in words]


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
