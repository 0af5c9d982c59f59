"""The Wyoming protocol, which Home Assistant speaks: describe, synthesize, and text that comes in chunks.

It has no keys: the port is off unless it is asked for, and NetworkPolicies (and VOXRAGA_ALLOWED_CIDRS) guard it.
The events are the library's; reading them is ours, because the library's own reader takes any length it is told.
"""

import asyncio
import contextlib
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import structlog
from wyoming.event import Event, async_write_event
from wyoming.info import Attribution, Info, TtsProgram, TtsVoice

from voxraga_runtime.common.access import parse_address, within
from voxraga_runtime.common.errors import ClientGone, InvalidRequest, VoxragaError
from voxraga_runtime.common.version import VERSION
from voxraga_runtime.server.render import PAUSE_SECONDS
from voxraga_runtime.server.requests import Ask
from voxraga_runtime.server.sentences import SentenceBuffer
from voxraga_runtime.server.service import SpeechService

log = structlog.get_logger()

ENDPOINT = "wyoming"
IDLE = 300.0  # seconds without an event
MOST_CONNECTIONS = 200
LONGEST_LINE = 64 << 10  # bytes
WAITING_EVENTS = 64  # read ahead of what is spoken
WIDTH = 2  # bytes of a sample
PIECE = 8192  # bytes of one audio-chunk


class Connection:
    """One client. `scope` is what the service keeps a request's facts in."""

    def __init__(self, service: SpeechService, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service = service
        self._reader = reader
        self._writer = writer
        self._gone = asyncio.Event()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(WAITING_EVENTS)
        self._limit = service.settings.max_text_length
        self._voice: dict[str, Any] | None = None  # of a stream of text under way
        self._buffer = SentenceBuffer(self._limit)
        self._spoken = 0  # sentences of that stream
        self._rate = 0  # Hz; _ask() knows
        self.scope: dict[str, Any] = {"state": {}}

    async def run(self) -> None:
        """Until the client leaves, errs or idles, or the server ends. Errors are told, never raised."""
        reading = asyncio.create_task(self._read())
        try:
            while (event := await self._next()) is not None:
                await self._handle(event)
        except ClientGone:
            pass
        except VoxragaError as error:
            with contextlib.suppress(OSError):
                await self._send("error", text=error.message, code=error.code)
        except OSError:
            pass  # the client left in the middle of an answer
        except Exception:
            log.exception("unexpected error", endpoint=ENDPOINT)
        finally:
            reading.cancel()
            self._writer.close()

    async def _next(self) -> Event | None:
        getting = asyncio.create_task(self._events.get())
        draining = asyncio.create_task(self._service.draining.wait())
        try:
            await asyncio.wait({getting, draining}, timeout=IDLE, return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()
            draining.cancel()

    async def _read(self) -> None:
        """Events into the queue, None at the end: whoever speaks must notice that nobody listens any more."""
        with contextlib.suppress(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            while line := await self._reader.readline():
                await self._events.put(await self._event(json.loads(line)))
        self._gone.set()
        await self._events.put(None)

    async def _event(self, header: dict[str, Any]) -> Event:
        data = dict(header.get("data") or {})
        if length := int(header.get("data_length") or 0):
            data.update(json.loads(await self._exactly(length)))
        payload = None
        if length := int(header.get("payload_length") or 0):
            payload = await self._exactly(length)
        return Event(str(header["type"]), data, payload)

    async def _exactly(self, length: int) -> bytes:
        most = LONGEST_LINE + 12 * self._limit  # as in a request's body
        if not 0 < length <= most:
            raise ValueError(f"{length} bytes announced, at most {most} are read")
        return await self._reader.readexactly(length)

    async def _handle(self, event: Event) -> None:
        if event.type == "describe":
            await async_write_event((await self._info()).event(), self._writer)
        elif event.type == "ping":
            await self._send("pong", text=event.data.get("text"))
        elif event.type == "synthesize" and self._voice is None:  # in a stream it repeats the whole, for old servers
            async with self._measured():
                ask = await self._ask(_text(event), _voice(event))
                await self._start()
                await self._say(ask)
                await self._send("audio-stop")
        elif event.type == "synthesize-start":
            self._voice, self._spoken, self._buffer = _voice(event), 0, SentenceBuffer(self._limit)
            await self._ask("a", self._voice)
        elif event.type == "synthesize-chunk" and self._voice is not None:
            await self._stream(self._buffer.add(_text(event)))
        elif event.type == "synthesize-stop" and self._voice is not None:
            await self._stream(self._buffer.flush())
            if self._spoken:
                await self._send("audio-stop")
            await self._send("synthesize-stopped")
            self._voice = None

    async def _info(self) -> Info:
        engine, catalogue = self._service.offer()
        who = Attribution("vox-raga", "")
        languages = dict.fromkeys(catalogue.voices, catalogue.languages)
        for one in await self._service.models.stored():
            languages |= {f"{one.name}/{voice}": tuple(one.info.languages) for voice in one.info.voices}
        voices = [
            TtsVoice(name, who, installed=True, description=name, version=None, languages=list(spoken))
            for name, spoken in languages.items()
        ]
        program = TtsProgram(
            "vox-raga",
            who,
            installed=True,
            description=f"{catalogue.model} ({engine.architecture})",
            version=VERSION,
            voices=voices,
            supports_synthesize_streaming=True,
        )
        return Info(tts=[program])

    async def _ask(self, text: str, voice: dict[str, Any]) -> Ask:
        """A checked request: what is wrong with the voice is said before anything is spoken."""
        ask = Ask(text, "text", format="pcm", stream=True, **voice)
        self._rate = (await self._service.agree(ask, self._gone)).rate
        return ask

    async def _stream(self, sentences: list[str]) -> None:
        assert self._voice is not None
        for sentence in sentences:
            async with self._measured():
                ask = await self._ask(sentence, self._voice)
                if self._spoken:
                    await self._audio(bytes(WIDTH * round(PAUSE_SECONDS * self._rate)))
                else:
                    await self._start()
                self._spoken += 1
                await self._say(ask)

    async def _say(self, ask: Ask) -> None:
        _, parts = await self._service.hear(self, ask, self._gone)
        async with contextlib.aclosing(parts):
            async for part in parts:
                await self._audio(part)

    async def _start(self) -> None:
        await self._send("audio-start", rate=self._rate, width=WIDTH, channels=1)

    async def _audio(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            layout = {"rate": self._rate, "width": WIDTH, "channels": 1}
            await async_write_event(Event("audio-chunk", layout, data[start : start + PIECE]), self._writer)

    async def _send(self, kind: str, **data: Any) -> None:
        await async_write_event(Event(kind, data), self._writer)

    @contextlib.asynccontextmanager
    async def _measured(self) -> AsyncIterator[None]:
        """Counts and logs one speech as a request is."""
        metrics, status, began = self._service.metrics, 200, time.perf_counter()
        self.scope["state"]["started"] = began
        with structlog.contextvars.bound_contextvars(request_id=uuid.uuid4().hex):
            try:
                yield
            except VoxragaError as error:
                status = error.status
                raise
            except OSError:
                status = ClientGone.status
                raise
            finally:
                seconds = time.perf_counter() - began
                metrics.requests.labels(ENDPOINT, str(status)).inc()
                metrics.duration.labels(ENDPOINT).observe(seconds)
                peer = (self._writer.get_extra_info("peername") or ("",))[0]
                log.info("request", endpoint=ENDPOINT, status=status, seconds=round(seconds, 4), client=peer)


def _text(event: Event) -> str:
    text = event.data.get("text")
    if not isinstance(text, str):
        raise InvalidRequest("text must be a string", param="text")
    return text


def _voice(event: Event) -> dict[str, Any]:
    """The fields of an Ask that a voice of this protocol means."""
    voice = event.data.get("voice") or {}
    if not isinstance(voice, dict):
        raise InvalidRequest("voice must be an object", param="voice")
    return {name: str(voice[key]) for name, key in (("voice", "name"), ("language", "language")) if voice.get(key)}


class WyomingServer:
    """The port and its connections."""

    def __init__(self, service: SpeechService) -> None:
        self._service = service
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._connected, sock=listener, limit=LONGEST_LINE)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = parse_address((writer.get_extra_info("peername") or ("",))[0])
        allowed = self._service.settings.allowed_cidrs
        refused = bool(allowed) and (address is None or not within(address, allowed))
        if refused or len(self._connections) >= MOST_CONNECTIONS:
            writer.close()
            return
        task = asyncio.ensure_future(Connection(self._service, reader, writer).run())
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def close(self, grace: float) -> None:
        """No new connections; those there are get `grace` seconds for their last bytes."""
        if self._server is not None:
            self._server.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=grace)
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
