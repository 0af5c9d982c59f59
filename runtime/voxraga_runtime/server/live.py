"""One WebSocket of /v1/audio/speech/stream: text in as it is written, audio out as it is made.

    client → server (JSON)                                server → client
    {"type": "session.start", "voice": …, …}   optional   {"type": "session.started", "format", "sample_rate", …}
    {"type": "input.text", "text": "…"}                   {"type": "sentence.started", "index", "text"}, then binary
    {"type": "input.flush"}   speak what is there         frames of audio, {"type": "sentence.done", "index"}
    {"type": "input.cancel"}  stop, forget what is left   {"type": "flush.done"}, {"type": "cancelled"}
    {"type": "input.end"}     speak the rest, then close  {"type": "session.done", "usage"}, and the server closes

Where session.start asks for timestamp_granularities ["word"], {"type": "sentence.timestamps", "index", "words"} comes
before the audio that holds the words; their seconds count from the sentence's first frame.
{"type": "error", "error": …} is OpenAI's error body; {"type": "session.draining"} says that the server is about to
end: the sentence under way is finished, the client should go on with another connection. In pcm the binary frames are
one stream (with the pauses between sentences); in every other format each sentence is a file of its own.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, ValidationError

from voxraga_runtime.common.errors import ClientGone, InvalidRequest, Overloaded, RateLimited, Unavailable, VoxragaError
from voxraga_runtime.common.guard import too_many
from voxraga_runtime.server.engines.base import Word
from voxraga_runtime.server.relay import timed
from voxraga_runtime.server.render import PAUSE_SECONDS, Speech
from voxraga_runtime.server.requests import Ask, VoiceId, voice_id
from voxraga_runtime.server.sentences import SentenceBuffer
from voxraga_runtime.server.service import SpeechService

IDLE = 300.0  # seconds without a message, nothing being spoken
BYTES_PER_CHARACTER = 12  # as in a request's body
NORMAL, POLICY, TOO_BIG, FAILED, RESTART, LATER = 1000, 1008, 1009, 1011, 1012, 1013


class Start(BaseModel):
    """session.start: the fields of POST /v1/audio/speech, for every sentence to come."""

    model: str | None = None
    voice: str | VoiceId | None = None
    language: str | None = None
    response_format: str | None = None
    speed: float | None = None
    sample_rate: int | None = None
    seed: int | None = Field(None, ge=0, lt=2**62)
    lexicon: dict[str, str] | None = None
    timestamp_granularities: list[str] | None = None

    def ask(self, text: str) -> Ask:
        form = self.response_format or "pcm"  # the one that needs no header and no joining
        options = self.model_dump(exclude={"response_format", "voice"})
        return Ask(text, "text", voice=voice_id(self.voice), format=form, stream=True, **options)


class LiveSession:
    """Reads and speaks side by side, until the client has heard everything or has left."""

    def __init__(self, socket: WebSocket, service: SpeechService) -> None:
        self._socket = socket
        self._service = service
        self._limit = service.settings.max_text_length
        self._start: Start | None = None
        self._buffer = SentenceBuffer(self._limit)
        self._pending: deque[str | None] = deque()  # sentences; None where a flush ends
        self._written = asyncio.Event()
        self._ended = False
        self._stop = asyncio.Event()  # of the sentence under way
        self._speaking = False
        self._sentences = 0
        self._characters = 0
        self._written_characters = 0
        self._granted = self._limit  # by the request that opened the WebSocket
        self._audio_bytes = 0

    async def run(self) -> None:
        """The whole session. Errors are told to the client, never raised."""
        reading = asyncio.create_task(self._read())
        speaking = asyncio.create_task(self._speak())
        draining = asyncio.create_task(self._service.draining.wait())
        tasks: set[asyncio.Task[Any]] = {reading, speaking, draining}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done() and not speaking.done():
                await self._finish_sentence(speaking)
                return
            for task in (reading, speaking):
                if task.done():
                    task.result()
            await self._close(NORMAL)
        except (WebSocketDisconnect, ClientGone):
            return
        except VoxragaError as error:
            await self._fail(error)
        finally:
            self._stop.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish_sentence(self, speaking: "asyncio.Task[None]") -> None:
        unspoken = sum(sentence is not None for sentence in self._pending)
        await self._send({"type": "session.draining", "unspoken_sentences": unspoken})
        self._pending.clear()
        self._ended = True
        self._written.set()
        with contextlib.suppress(VoxragaError, WebSocketDisconnect):
            await speaking
        await self._close(RESTART)

    async def _read(self) -> None:
        """Until the client leaves or errs: also after input.end, when nothing but its leaving is of interest."""
        while True:
            try:
                text = await asyncio.wait_for(self._receive(), IDLE)
            except TimeoutError:
                if self._speaking or self._pending:
                    continue
                raise InvalidRequest(f"no message for {IDLE:g} s", code="session_idle") from None
            if not self._ended:
                await self._on(_message(text))

    async def _receive(self) -> str:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            self._stop.set()
            raise WebSocketDisconnect(message.get("code", NORMAL))
        text = message.get("text")
        if text is None:
            raise InvalidRequest("messages must be JSON text; binary frames come from the server only")
        if len(text) > 1024 + BYTES_PER_CHARACTER * self._limit:
            raise InvalidRequest("the message is too large", code="string_above_max_length")
        return str(text)

    async def _on(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "session.start":
            if self._start is not None:
                raise InvalidRequest("session.start must be the first message, and the only one of its kind")
            await self._begin(message)
            return
        if self._start is None:
            await self._begin({})
        if kind == "input.text":
            text = message.get("text")
            if not isinstance(text, str):
                raise InvalidRequest("text must be a string", param="text")
            self._charge(len(text))
            self._put(self._buffer.add(text))
        elif kind == "input.flush":
            self._put([*self._buffer.flush(), None])
        elif kind == "input.cancel":
            await self._cancel()
        elif kind == "input.end":
            self._put(self._buffer.flush())
            self._ended = True
            self._written.set()
        else:
            raise InvalidRequest(
                "type must be session.start, input.text, input.flush, input.cancel or input.end", param="type"
            )

    def _charge(self, characters: int) -> None:
        """A session counts as the requests that its text would have been at least: no way around the rate limit."""
        take = self._socket.scope["state"].get("take")
        self._written_characters += characters
        while take is not None and self._written_characters > self._granted:
            verdict = take()
            if verdict.wait:
                raise too_many(verdict)
            self._granted += self._limit

    async def _begin(self, message: dict[str, Any]) -> None:
        try:
            self._start = Start.model_validate(message)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise InvalidRequest(f"{name}: {first['msg']}", param=name) from None
        ask = self._start.ask("a")
        speech = await self._service.agree(ask, self._stop)  # the options, checked before anything is written
        started = {
            "type": "session.started",
            "model": speech.model,
            "voice": speech.utterance.voice,
            "format": speech.format.name,
            "content_type": speech.format.content_type,
            "sample_rate": speech.rate,
            "channels": 1,
        }
        await self._send(started)

    def _put(self, items: list[Any]) -> None:
        self._pending.extend(items)
        waiting = sum(len(sentence) for sentence in self._pending if sentence is not None)
        if waiting > self._limit:
            message = f"{waiting} characters wait to be spoken; at most {self._limit} may"
            raise InvalidRequest(message, param="text", code="string_above_max_length")
        self._written.set()

    async def _cancel(self) -> None:
        self._buffer.flush()
        self._pending.clear()
        self._stop.set()
        await self._send({"type": "cancelled"})

    async def _speak(self) -> None:
        while True:
            while not self._pending:
                if self._ended:
                    usage = {"input_characters": self._characters, "audio_bytes": self._audio_bytes}
                    await self._send({"type": "session.done", "usage": usage})
                    return
                self._written.clear()
                await self._written.wait()
            sentence = self._pending.popleft()
            if sentence is None:
                await self._send({"type": "flush.done"})
            else:
                self._speaking = True
                await self._say(sentence)
                self._speaking = False

    async def _say(self, sentence: str) -> None:
        assert self._start is not None
        self._stop = stop = asyncio.Event()
        index, self._sentences = self._sentences, self._sentences + 1
        self._socket.scope["state"]["started"] = time.perf_counter()  # the time to first audio is each sentence's own
        words: list[Word] = []
        try:
            speech, parts = await self._service.hear(self._socket, self._start.ask(sentence), stop, words=words)
            if stop.is_set():
                return
            await self._send({"type": "sentence.started", "index": index, "text": sentence})
            pause = _pause(speech) if index and speech.format.name == "pcm" else b""
            told = 0
            async with contextlib.aclosing(parts):
                async for part in parts:
                    if stop.is_set():
                        break
                    if speech.timestamps and (fresh := words[told:]):
                        told += len(fresh)
                        await self._tell_times(index, fresh, len(pause) / 2 / speech.rate)
                    await self._audio(pause + part)
                    pause = b""
        except ClientGone:  # cancelled: by the client, that is still there
            return
        if not stop.is_set():
            self._characters += len(sentence)
            await self._send({"type": "sentence.done", "index": index})

    async def _tell_times(self, index: int, words: list[Word], begin: float) -> None:
        """Before the audio that they are in, so that a client that interrupts knows what was heard."""
        moved = [Word(w.text, w.start + begin, w.end + begin) for w in words]
        await self._send({"type": "sentence.timestamps", "index": index, "words": timed(moved)})

    async def _audio(self, data: bytes) -> None:
        self._audio_bytes += len(data)
        await self._socket.send_bytes(data)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(message, ensure_ascii=False))

    async def _fail(self, error: VoxragaError) -> None:
        told = {"type": "error", **error.body()}
        if error.retry_after is not None:
            told["retry_after"] = error.retry_after
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._send(told)
            await self._close(_code(error))

    async def _close(self, code: int) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.close(code)


def _message(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"the message is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("the message is nested too deeply") from None
    if not isinstance(message, dict):
        raise InvalidRequest('the message must be a JSON object with a "type"')
    return message


def _pause(speech: Speech) -> bytes:
    """The silence that one request has between its sentences, in pcm."""
    return bytes(2 * round(PAUSE_SECONDS / speech.utterance.speed * speech.rate))


def _code(error: VoxragaError) -> int:
    if error.code == "string_above_max_length":
        return TOO_BIG
    if isinstance(error, Overloaded | RateLimited | Unavailable):
        return LATER
    return POLICY if isinstance(error, InvalidRequest) else FAILED
