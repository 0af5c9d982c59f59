"""What strangers' bytes reach, as functions of bytes: each may refuse in its own words, and do nothing else.

Any other exception is a find; so is a file outside the target's folder, a started process, an opened connection.
"""

import asyncio
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastapi import WebSocketDisconnect

from tests.runtime.server.engine import ToneEngine
from tests.runtime.store import bundles
from voxraga_runtime.common.errors import InvalidRequest
from voxraga_runtime.common.metrics import ServerMetrics
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server import live, recording, sentences, text
from voxraga_runtime.server.service import SpeechService
from voxraga_runtime.server.wyoming import Connection
from voxraga_runtime.store import archive, gate, pickles, references, settings, stats
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.listing import Listing

FORBIDDEN = frozenset({"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "os.symlink"})
LIMIT = 200  # characters of a text
LONGEST = 2.0  # seconds of a recording
SEPARATOR = b"\xff\xfe\xfd"  # between the parts of an input that is several files
GOOD = bundles.good()


class EscapedError(BaseException):
    """The input did something. No `except Exception` may hide it."""


def _watch(event: str, _arguments: tuple[object, ...]) -> None:
    if event in FORBIDDEN and _watching:
        raise EscapedError(event)


_watching: list[bool] = []
sys.addaudithook(_watch)


@contextlib.contextmanager
def contained(*refusals: type[Exception]) -> Iterator[Path]:
    """A folder to work in, beside which nothing may appear."""
    with tempfile.TemporaryDirectory(prefix="voxraga-fuzz-") as outside:
        inside = Path(outside) / "inside"
        inside.mkdir()
        _watching.append(True)
        try:
            with contextlib.suppress(*refusals):
                yield inside
        finally:
            _watching.pop()
        if beside := [path for path in Path(outside).iterdir() if path != inside]:
            raise EscapedError(f"files beside the folder: {beside}")
        for path in inside.rglob("*"):
            if path.is_symlink() or not path.resolve().is_relative_to(inside.resolve()):
                raise EscapedError(f"{path} leads elsewhere")


def unpacking(data: bytes) -> None:
    """A zip or tar archive."""
    with contained(StoreError) as folder:
        packed = folder / "packed"
        packed.write_bytes(data)
        archive.extract(packed, folder / "bundle", "model.zip")


def checkpoint(data: bytes) -> None:
    """A checkpoint's pickles: judged, then read as plain data."""
    with contained(StoreError) as folder:
        path = folder / "model.pth"
        path.write_bytes(data)
        pickles.check(path, "model.pth")
        pickles.read(path, "model.pth")


def statistics(data: bytes) -> None:
    """scale_stats.npy."""
    with contained(StoreError) as folder:
        path = folder / "scale_stats.npy"
        path.write_bytes(data)
        stats.check(path, path.name)


def bundle(data: bytes) -> None:
    """config.json, and the files that it may name: speakers, languages, a card."""
    config, _, rest = data.partition(SEPARATOR)
    speakers, _, card = rest.partition(SEPARATOR)
    files = {"config.json": config, "model.pth": GOOD["model.pth"]}
    files |= {"speakers.json": speakers, "language_ids.json": speakers} if speakers else {}
    files |= {"voice.json": card} if card else {}
    with contained(StoreError) as folder:
        bundles.write(folder, files)
        gate.admit(folder, Listing(name="here", files=()), ["CPML"])


def source(data: bytes) -> None:
    """spec.source, as the fetch Job reads it."""
    wanted = {"VOXRAGA_SOURCE": data.replace(b"\0", b"").decode("utf-8", "replace"), "VOXRAGA_STORE_KEY": "0" * 16}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        with contained(StoreError):
            settings.load()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def recordings(data: bytes) -> None:
    """A recording to transcribe."""
    with contained(InvalidRequest):
        samples = recording.decode(io.BytesIO(data), LONGEST)
        assert len(samples) <= (LONGEST + 1) * recording.RATE
        assert abs(samples).max() <= 1


def voice(data: bytes) -> None:
    """A voice of recordings: its clip and its card."""
    clip, _, card = data.partition(SEPARATOR)
    with contained() as folder:
        bundles.write(folder, {"voices/anna/clip.wav": clip, "voices/anna/voice.json": card})
        for found in references.find_references(folder / "voices", 22050):
            assert all(len(c) <= references.LONGEST * 22050 + 22050 for c in found.clips)


def splitting(data: bytes) -> None:
    """Text into sentences, whole and as it is written: nothing is lost, nothing is too long."""
    words = data.decode("utf-8", "surrogatepass" if data[:1] == b"\xed" else "replace")
    parts = text.split_sentences(words, LIMIT)
    assert all(0 < len(part) <= LIMIT for part in parts)
    assert all(text.finished(part) for part in parts)
    buffer = sentences.SentenceBuffer(1 << 20)
    live_parts = [part for i in range(0, len(words), 7) for part in buffer.add(words[i : i + 7])] + buffer.flush()
    assert _letters("".join(live_parts)) == _letters(words)
    assert _letters("".join(parts)) == _letters(words)


def _letters(words: str) -> list[str]:
    return [c for c in text.clean(words) if c.isalnum()]


class _Socket:
    """A WebSocket whose client sends these frames and leaves."""

    def __init__(self, frames: list[dict[str, Any]]) -> None:
        self.frames = frames
        self.scope: dict[str, Any] = {"state": {}}
        self.closed = False

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        return self.frames.pop(0) if self.frames else {"type": "websocket.disconnect", "code": 1000}

    async def send_text(self, data: str) -> None:
        assert len(data) < 4 * LIMIT + 2000
        self._require_open()

    async def send_bytes(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        self._require_open()

    async def close(self, code: int = 1000) -> None:
        assert 1000 <= code < 5000
        self.closed = True

    def _require_open(self) -> None:
        if self.closed:
            raise WebSocketDisconnect(1000)


class _Writer:
    """Takes what is sent to a Wyoming client."""

    def writelines(self, _lines: object) -> None:
        pass

    def write(self, _data: bytes) -> None:
        pass

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        pass

    def get_extra_info(self, _name: str) -> None:
        return None


class _Service:
    """A loaded service on a loop of its own, made once: targets are called a hundred thousand times."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        made = load_settings(
            model_name="fuzzed", model_path=Path(tempfile.gettempdir()), max_text_length=LIMIT, max_concurrency=1
        )
        self.loop.run_until_complete(self._start(made))

    async def _start(self, made: Any) -> None:
        self.service = SpeechService(made, ServerMetrics(), ToneEngine, lambda: None)
        await self.service.start()

    def run(self, one: Callable[[SpeechService], Any]) -> None:
        async def bounded() -> None:
            await asyncio.wait_for(one(self.service), 20)

        self.loop.run_until_complete(bounded())
        assert (self.service.admission.waiting, self.service.draining.is_set()) == (0, False)


_service: list[_Service] = []


def _served(one: Callable[[SpeechService], Any]) -> None:
    if not _service:
        _service.append(_Service())
    _service[0].run(one)


def websocket(data: bytes) -> None:
    """Messages of the WebSocket, one a line."""
    frames: list[dict[str, Any]] = []
    for line in data.split(b"\n"):
        try:
            frames.append({"type": "websocket.receive", "text": line.decode()})
        except UnicodeDecodeError:
            frames.append({"type": "websocket.receive", "bytes": line})

    async def session(service: SpeechService) -> None:
        socket: Any = _Socket(frames)
        await live.LiveSession(socket, service).run()

    _served(session)


def wyoming(data: bytes) -> None:
    """What a Wyoming client sends."""

    async def session(service: SpeechService) -> None:
        reader = asyncio.StreamReader(limit=1 << 16)
        reader.feed_data(data)
        reader.feed_eof()
        writer: Any = _Writer()
        await Connection(service, reader, writer).run()

    _served(session)


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (
        *(unpacking, checkpoint, statistics, bundle, source),
        *(recordings, voice, splitting, websocket, wyoming),
    )
}
