"""The two servers as processes of their own, and what their client sees: when bytes came, and whether they speak."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from tests import ports
from tests.bench.texts import spoken

PATIENCE = 180  # seconds; until a server is ready, and for one answer
PIECE = 1 << 16
SAMPLE = 2  # bytes
QUIETEST = 1e-3  # RMS of full scale
SOURCES = ("operator", "runtime", ".")  # where the packages are, from the project's root


class BenchError(Exception):
    """A server failed, or gave a wrong answer: the run has no result."""


@dataclass(slots=True)
class Answer:
    """One answer: seconds from sending the request, and the audio in it."""

    first: float = 0.0  # until the first sample
    total: float = 0.0
    seconds: float = 0.0  # of audio
    pieces: list[tuple[float, float]] = field(default_factory=list)  # (when, seconds of audio)


class Server(Protocol):
    """A server under test. `expected` are the seconds of audio that it makes of sentences that take `bare` seconds."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    def ready(self) -> bool: ...
    def request(self, text: str, *, streamed: bool) -> tuple[str, str, str]:
        """Path, content type, body of a POST."""

    def expected(self, bare: float, sentences: int) -> float: ...


class Ours:
    """`voxraga-runtime serve` on a published model, with its default settings."""

    name = "voxraga"
    pause = 0.18  # seconds between sentences (docs/server.md)

    def __init__(self, model: Path, voice: str, rate: int, log: Path) -> None:
        self.port = ports.free(1)[0]
        self.log = log
        self._voice = voice
        self._rate = rate
        settings = {"VOXRAGA_MODEL_NAME": "bench", "VOXRAGA_MODEL_PATH": str(model), "VOXRAGA_HOST": "127.0.0.1"}
        settings |= {"VOXRAGA_PORT": str(self.port), "VOXRAGA_TERMINATION_LOG": str(log.with_suffix(".last"))}
        self.process = start(["-m", "voxraga_runtime", "serve"], log, settings)

    def ready(self) -> bool:
        return _status(self.port, "/ready") == http.HTTPStatus.OK

    def request(self, text: str, *, streamed: bool) -> tuple[str, str, str]:
        # its own rate: tts-server does not resample either
        body = {"model": "bench", "input": text, "response_format": "wav", "stream": streamed}
        body |= {"voice": self._voice} if self._voice else {}
        return "/v1/audio/speech", "application/json", json.dumps(body | {"sample_rate": self._rate})

    def expected(self, bare: float, sentences: int) -> float:
        return bare + self.pause * (sentences - 1)


class Theirs:
    """coqui's `tts-server` on the model's own files, with its default settings, by its own route (the leaner one)."""

    name = "tts-server"
    padding = 10000  # samples of silence after each sentence

    def __init__(self, model: Path, voice: str, rate: int, log: Path) -> None:
        self.port = ports.free(1)[0]
        self.log = log
        self._voice = voice
        self._rate = rate
        files = ["--model_path", str(model / "model.pth"), "--config_path", str(model / "config.json")]
        self.process = start(["-m", "TTS.server.server", *files, "--port", str(self.port)], log, {})

    def ready(self) -> bool:
        return _status(self.port, "/locales") is not None

    def request(self, text: str, *, streamed: bool) -> tuple[str, str, str]:
        del streamed  # it can't
        form = urllib.parse.urlencode({"text": text, "speaker_id": self._voice})
        return "/api/tts", "application/x-www-form-urlencoded", form

    def expected(self, bare: float, sentences: int) -> float:
        return bare + self.padding / self._rate * sentences


def environment(more: dict[str, str]) -> dict[str, str]:
    """What every process of the bench runs with; settings of this shell for our server are not among it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VOXRAGA_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(str(Path(s).absolute()) for s in SOURCES), **more}


def start(arguments: list[str], log: Path, more: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Python with these arguments, its output in `log`, in a process group of its own."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment(more),
            start_new_session=True,
        )


@contextlib.contextmanager
def running(servers: list[Server]) -> Iterator[None]:
    """Wait until all are ready; end them after the block. Raises BenchError with the log of one that ended."""
    try:
        deadline = time.monotonic() + PATIENCE
        waiting = list(servers)
        while waiting:
            for server in waiting:
                alive(server)
            waiting = [s for s in waiting if not s.ready()]
            if waiting and time.monotonic() > deadline:
                raise BenchError(f"{waiting[0].name} was not ready after {PATIENCE} s")
            time.sleep(0.2)
        yield
    finally:
        for server in servers:
            stop(server.process)


def alive(server: Server) -> None:
    """Raises BenchError if the server has ended."""
    if server.process.poll() is not None:
        raise BenchError(f"{server.name} ended with {server.process.returncode}:\n{_tail(server)}")


def _tail(server: Server) -> str:
    return server.log.read_text(errors="replace")[-2000:]


def stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, and SIGKILL for what is left after ten seconds."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def ask(server: Server, sentences: tuple[str, ...], bare: float, *, streamed: bool = False) -> Answer:
    """Speak, and check what came: `bare` are the seconds of audio that the model makes of it. Raises BenchError."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    started = time.perf_counter()
    body, arrivals = bytearray(), []
    try:
        response = send(connection, server, sentences, streamed=streamed)
        while piece := response.read1(PIECE):
            body += piece
            arrivals.append((time.perf_counter() - started, len(body)))
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{server.name} broke off: {error!r}") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise BenchError(f"{server.name} answered {response.status}: {bytes(body[:300])!r}\n{_tail(server)}")
    answer = read(bytes(body), arrivals, server.name)
    wanted = server.expected(bare, len(sentences))
    if abs(answer.seconds - wanted) > 0.02 * wanted + 0.05:
        raise BenchError(f"{server.name}: {answer.seconds:.2f} s of audio, expected {wanted:.2f}: {spoken(sentences)}")
    return answer


def send(
    connection: http.client.HTTPConnection, server: Server, sentences: tuple[str, ...], *, streamed: bool
) -> http.client.HTTPResponse:
    """Send the request and wait for the answer's header."""
    path, kind, body = server.request(spoken(sentences), streamed=streamed)
    connection.request("POST", path, body, {"Content-Type": kind})
    return connection.getresponse()


def leave(server: Server, sentences: tuple[str, ...], after: float) -> None:
    """Ask, and close the connection after so many seconds, whatever has come by then."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    path, kind, body = server.request(spoken(sentences), streamed=True)
    connection.request("POST", path, body, {"Content-Type": kind})
    time.sleep(after)
    connection.close()


def read(body: bytes, arrivals: list[tuple[float, int]], name: str) -> Answer:
    """What a wav holds, and when it came: `arrivals` are (when, bytes so far). Raises BenchError for silence."""
    start_of_samples = body.find(b"data") + 8
    if body[:4] != b"RIFF" or start_of_samples < 8:
        raise BenchError(f"{name} sent no wav, but {body[:60]!r}")
    rate = int.from_bytes(body[24:28], "little")
    size = (len(body) - start_of_samples) // SAMPLE * SAMPLE
    samples = np.frombuffer(body, "<i2", size // SAMPLE, start_of_samples) / 32768
    if not len(samples) or float(samples.std()) < QUIETEST:
        raise BenchError(f"{name} sent silence")
    pieces, before = [], start_of_samples
    for when, so_far in arrivals:
        if so_far > before:
            pieces.append((when, (so_far - before) / SAMPLE / rate))
            before = so_far
    return Answer(pieces[0][0], arrivals[-1][0], len(samples) / rate, pieces)


def resident(pid: int) -> int:
    """Bytes of memory that a process and its children hold now."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
            if pid in (int(folder.name), int(status["PPid"])):
                total += int(status.get("VmRSS", "0 kB").split()[0]) * 1024
    return total
