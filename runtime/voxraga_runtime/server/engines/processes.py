"""Engines in processes of their own: for models that can do one thing at a time, and for crashes that must not spread.

Each process loads the model once and speaks one utterance at a time. One that dies (kill -9, out of memory, a fault in
native code) is started again; what it had not begun to say is said by the new one, what was broken off is an error.
"""

import atexit
import dataclasses
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from typing import Any

import structlog

from voxraga_runtime.common.errors import InvalidRequest, StartupError, SynthesisFailed, Unavailable
from voxraga_runtime.server.engines.base import Cancelled, Capabilities, Chunk, Engine, Utterance, Voice
from voxraga_runtime.server.memory import resident

log = structlog.get_logger()

LOOK = 0.05  # seconds between looks at whether the client is still there
ATTEMPTS = 2  # to say one sentence: a text that kills the process must not do so for ever
GRACE = 2.0  # seconds in which a process may end by itself
CONTEXT = multiprocessing.get_context("spawn")  # fork would copy torch's threads' locks


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What an engine says of itself once it is loaded."""

    sample_rate: int
    architecture: str
    capabilities: Capabilities
    languages: tuple[str, ...]
    voices: tuple[Voice, ...]


class WorkerDiedError(Exception):
    """The process ended without an answer."""


class _Worker:
    """One process. Used by one thread at a time."""

    def __init__(self, make: Callable[[], Engine], setup: Callable[[], None]) -> None:
        self._args = (make, setup)
        self._pipe: Connection | None = None
        self.process: Any = None

    def start(self) -> None:
        """Begin to load; `ready` waits for the end of it."""
        self.stop()
        self._pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_work, args=(theirs, *self._args), daemon=True)
        self.process.start()
        theirs.close()  # so that the process's end is the pipe's end

    def ready(self) -> About:
        kind, content = self.receive()
        if kind == "failed":
            raise StartupError(*content)
        assert isinstance(content, About)
        return content

    def send(self, *message: Any) -> None:
        try:
            assert self._pipe is not None
            self._pipe.send(message)
        except OSError as error:
            raise WorkerDiedError from error

    def receive(self) -> tuple[str, Any]:
        try:
            assert self._pipe is not None
            kind, content = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerDiedError from error
        return kind, content

    def waits(self) -> bool:
        """Whether something is to be received, the process's death included."""
        return self._pipe is None or self._pipe.poll(LOOK)

    def stop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self.process is not None:
            self.process.join(0 if self.process.exitcode is not None else GRACE)
            if self.process.exitcode is None:
                self.process.kill()
                self.process.join()
            self.process.close()
            self.process = None


class ProcessEngine:
    """`count` processes as one engine that may be used by as many threads. `make` and `setup` must be picklable."""

    def __init__(self, make: Callable[[], Engine], count: int, setup: Callable[[], None]) -> None:
        self._workers = [_Worker(make, setup) for _ in range(count)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._about: About | None = None
        self._closed = threading.Event()
        self.on_restart: Callable[[], None] = lambda: None

    def load(self) -> None:
        atexit.register(self.close)  # before multiprocessing's own, which would wait for processes that wait for us
        try:
            for worker in self._workers:
                worker.start()
            for worker in self._workers:
                self._about = worker.ready()
                self._free.put(worker)
        except WorkerDiedError:
            self.close()
            raise StartupError(
                "ModelInvalid", "the worker process died while it loaded: is the memory enough?"
            ) from None
        except StartupError:
            self.close()
            raise

    def close(self) -> None:
        self._closed.set()
        atexit.unregister(self.close)
        for worker in self._workers:
            if worker.process is not None:
                with suppress(ValueError, AttributeError):  # a thread that restarts it may be faster
                    worker.process.kill()
            with suppress(ValueError, AttributeError, OSError):
                worker.stop()

    @property
    def _loaded(self) -> About:
        assert self._about is not None
        return self._about

    @property
    def sample_rate(self) -> int:
        return self._loaded.sample_rate

    @property
    def architecture(self) -> str:
        return self._loaded.architecture

    @property
    def capabilities(self) -> Capabilities:
        return dataclasses.replace(self._loaded.capabilities, reentrant=True, parallel=len(self._workers))

    @property
    def languages(self) -> tuple[str, ...]:
        return self._loaded.languages

    @property
    def memory(self) -> int:
        return sum(resident(pid) for pid in self.pids())

    def voices(self) -> tuple[Voice, ...]:
        return self._loaded.voices

    def pids(self) -> list[int]:
        """The processes, for those who look after them."""
        return [w.process.pid for w in self._workers if w.process is not None]

    def synthesize(self, utterance: Utterance, cancelled: Cancelled) -> Iterator[Chunk]:
        worker = self._take(cancelled)
        if worker is None:
            return
        try:
            yield from self._attempts(worker, utterance, cancelled)
        finally:
            self._free.put(worker)

    def _take(self, cancelled: Cancelled) -> _Worker | None:
        while not cancelled() and not self._closed.is_set():
            with suppress(queue.Empty):
                return self._free.get(timeout=LOOK)
        return None

    def _attempts(self, worker: _Worker, utterance: Utterance, cancelled: Cancelled) -> Iterator[Chunk]:
        """Say it; where the process dies between sentences, a new one goes on with the next."""
        said, attempt, begun = 0, 1, False  # sentences wholly given; whether the next one was begun
        while True:
            first = said
            rest = dataclasses.replace(utterance, sentences=utterance.sentences[first:], seed=utterance.seed + first)
            try:
                with closing(_speak(worker, rest, cancelled)) as chunks:
                    for chunk in chunks:
                        begun = True
                        yield dataclasses.replace(chunk, sentence=first + chunk.sentence)
                        if chunk.final:
                            said, attempt, begun = first + chunk.sentence + 1, 1, False
            except WorkerDiedError:
                self._restart(worker)
                if begun or attempt == ATTEMPTS:
                    raise Unavailable(
                        "the worker process died while it spoke; send the request again",
                        code="worker_died",
                        retry_after=1,
                    ) from None
                attempt += 1
            else:
                return

    def _restart(self, worker: _Worker) -> None:
        """Start a process anew and wait until it has loaded; one that fails is tried again by the next request."""
        if self._closed.is_set():
            return
        log.warning("worker process died; starting it again", exitcode=_exitcode(worker))
        self.on_restart()
        worker.start()
        with suppress(WorkerDiedError, StartupError):
            worker.ready()


def _exitcode(worker: _Worker) -> int | None:
    worker.process.join(GRACE)
    code: int | None = worker.process.exitcode
    return code


def _speak(worker: _Worker, utterance: Utterance, cancelled: Cancelled) -> Generator[Chunk, None, None]:
    """One utterance; the process is free again when this ends, also where nobody takes the rest."""
    worker.send("speak", utterance)
    told = ended = False
    try:
        while True:
            if cancelled() and not told:
                worker.send("cancel", None)
                told = True
            if not worker.waits():
                continue
            kind, content = worker.receive()
            if kind == "chunk" and not told:
                yield content
            elif kind != "chunk":
                ended = True
                _raise_for(kind, content)
                return
    except WorkerDiedError:
        ended = True
        raise
    finally:
        if not ended:
            with suppress(WorkerDiedError):  # the next one notices
                worker.send("cancel", None)
                while worker.receive()[0] == "chunk":
                    pass


def _raise_for(kind: str, content: Any) -> None:
    if kind == "refused":
        raise InvalidRequest(content[0], param=content[1], code=content[2])
    if kind == "error":
        log.error("synthesis failed in the worker process", error=content)
        raise SynthesisFailed("the model failed on this text; the server's log has the request id")


def _work(pipe: Connection, make: Callable[[], Engine], setup: Callable[[], None]) -> None:
    """The process: load, then speak what comes until the pipe is closed. Signals are the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        setup()
        engine = make()
        engine.load()
    except StartupError as error:
        pipe.send(("failed", (error.reason, error.message)))
        return
    except Exception as error:  # noqa: BLE001 - told to whoever waits for it
        pipe.send(("failed", ("ModelInvalid", f"{type(error).__name__}: {error}")))
        return
    about = About(engine.sample_rate, engine.architecture, engine.capabilities, engine.languages, engine.voices())
    with suppress(EOFError, OSError):  # the server is gone
        pipe.send(("loaded", about))
        while True:
            kind, content = pipe.recv()
            if kind == "speak":  # a cancel that comes here was for the utterance before
                pipe.send(_answer(pipe, engine, content))


def _answer(pipe: Connection, engine: Engine, utterance: Utterance) -> tuple[str, Any]:
    asked_to_stop = False

    def cancelled() -> bool:
        nonlocal asked_to_stop
        if pipe.poll():
            pipe.recv()  # nothing but a cancel can come while we speak
            asked_to_stop = True
        return asked_to_stop

    try:
        for chunk in engine.synthesize(utterance, cancelled):
            pipe.send(("chunk", chunk))
    except InvalidRequest as error:
        return "refused", (error.message, error.param, error.code)
    except (EOFError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - handed to the one who asked
        return "error", f"{type(error).__name__}: {error}"
    return "end", None
