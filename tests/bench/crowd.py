"""A crowd of clients on plain sockets, light enough to share the server's cores, and what each of them saw.

Besides those that ask and listen there are some that mean no good: they open a connection and say nothing, send a
byte a second, or ask for a minute of sound and never read it.
"""

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.bench.texts import SENTENCES
from voxraga_runtime.server.requests import OPENAI_VOICES

HOST = "127.0.0.1"
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
PROBES = ("/live", "/ready", "/health", "/metrics")
HASTE = 1.0  # seconds after which an impatient client asks again, whatever Retry-After says; every second one is
PROBE_EVERY = 0.5  # seconds
MUTE, SLOW, DEAF = 10, 10, 4  # those who mean no good
REFUSED = (429, 503)
OK = 200
TICK = 0.05


@dataclass(slots=True)
class Reply:
    """One answer: seconds from connecting to its last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


@dataclass(slots=True)
class Seen:
    """What the crowd saw; times in seconds."""

    statuses: Counter[str] = field(default_factory=Counter)  # "200", "429 queue_full", …
    answers: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    probes: dict[str, list[float]] = field(default_factory=lambda: {path: [] for path in PROBES})
    broken: list[str] = field(default_factory=list)  # promises, not connections
    lag: list[float] = field(default_factory=list)  # by which this crowd's own loop was late

    def take(self, reply: Reply) -> None:
        """Count an answer to a request for speech, and check what was promised of it."""
        code = ""
        if reply.status in REFUSED:
            code = " " + json.loads(reply.body)["error"]["code"]
            self.refusals.append(reply.seconds)
            if not reply.headers.get("retry-after", "").isdigit():
                self.broken.append(f"{reply.status} without Retry-After")
        elif reply.status != OK:
            self.broken.append(f"{reply.status}: {reply.body[:200]!r}")
        else:
            self.answers.append(reply.seconds)
            if len(reply.body) < 1000:  # half a second of the tightest format
                self.broken.append(f"200 with {len(reply.body)} bytes")
        self.statuses[f"{reply.status}{code}"] += 1


async def ask(port: int, method: str, path: str, body: bytes = b"") -> Reply:
    """One request on a connection of its own. Raises OSError or EOFError where it breaks off."""
    started = time.perf_counter()
    async with _connection(port) as (reader, writer):
        writer.write(_request(method, path, len(body)) + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        content = await _body(reader, headers)
        return Reply(int(head[0].split()[1]), headers, content, time.perf_counter() - started)


def _request(method: str, path: str, length: int) -> bytes:
    kind = f"Content-Type: application/json\r\nContent-Length: {length}\r\n" if length else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{kind}\r\n".encode()


@contextlib.asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers["content-length"]))
    whole = bytearray()
    while size := int(await reader.readline(), 16):
        whole += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(whole)


def speech(number: int, sentences: int) -> bytes:
    """The body of a request; no two neighbours ask for the same."""
    text = " ".join(SENTENCES[(number + i) % len(SENTENCES)] for i in range(sentences))
    form, voice = FORMATS[number % len(FORMATS)], OPENAI_VOICES[number % 7]
    options = {"stream_format": "sse"} if number % 5 == 0 else {"stream": number % 2 == 0}
    return json.dumps({"input": text, "response_format": form, "voice": voice, "seed": number, **options}).encode()


async def leave(port: int, number: int) -> None:
    """Ask for much, and go with the first bytes."""
    body = speech(number, 8)
    async with _connection(port) as (reader, writer):
        writer.write(_request("POST", "/v1/audio/speech", len(body)) + body)
        await reader.read(1)


async def crowd(port: int, clients: int, seconds: float) -> Seen:
    """Everybody for so long; then all leave at once, whatever they wait for."""
    seen = Seen()
    numbers = itertools.count()
    everybody = [_listener(port, seen, numbers, i) for i in range(clients)]
    everybody += [_probe(port, seen), _lag(seen)]
    everybody += [kind(port) for kind, count in ((_mute, MUTE), (_slow, SLOW), (_deaf, DEAF)) for _ in range(count)]
    tasks = [asyncio.create_task(one) for one in everybody]
    _, running = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    return seen


async def _listener(port: int, seen: Seen, numbers: "itertools.count[int]", who: int) -> None:
    draw = random.Random(who)  # so that not all come at once
    patient = who % 2 == 0
    while True:
        await asyncio.sleep(draw.random())
        number = next(numbers)
        try:
            reply = await ask(port, "POST", "/v1/audio/speech", speech(number, 1 + number % 4))
        except (OSError, EOFError) as error:
            seen.broken.append(f"connection broke off: {error!r}")
            continue
        seen.take(reply)
        if reply.status in REFUSED:
            await asyncio.sleep(int(reply.headers.get("retry-after", "1")) if patient else HASTE)


async def _probe(port: int, seen: Seen) -> None:
    while True:
        for path in PROBES:
            reply = await ask(port, "GET", path)
            seen.probes[path].append(reply.seconds)
            if reply.status != OK:
                seen.broken.append(f"{path} answered {reply.status}")
        await asyncio.sleep(PROBE_EVERY)


async def _lag(seen: Seen) -> None:
    while True:
        started = time.perf_counter()
        await asyncio.sleep(TICK)
        seen.lag.append(time.perf_counter() - started - TICK)


async def _mute(port: int) -> None:
    """Opens, says nothing, and comes back when it is thrown out."""
    while True:
        with contextlib.suppress(OSError):
            async with _connection(port) as (reader, _):
                await reader.read()


async def _slow(port: int) -> None:
    """A byte a second of a body that would take a day."""
    while True:
        with contextlib.suppress(OSError):
            async with _connection(port) as (_, writer):
                writer.write(_request("POST", "/v1/audio/speech", 100_000))
                while not writer.is_closing():
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(1.0)


async def _deaf(port: int) -> None:
    """Asks for a minute of sound, more than the sockets hold, and takes none of it."""
    wide = {"response_format": "wav", "sample_rate": 48000, "stream": True}
    body = json.dumps({"input": " ".join(SENTENCES * 3), **wide}).encode()
    while True:
        with contextlib.suppress(OSError):
            async with _connection(port) as (reader, writer):
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # a reading transport's
                writer.write(_request("POST", "/v1/audio/speech", len(body)) + body)
                await asyncio.sleep(90.0)
                del reader
