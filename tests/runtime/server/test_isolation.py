"""Nobody gets another caller's audio: sixteen clients at once, 500 requests, each answered as if it were alone.

Texts, voices, speeds, noise, formats and transports differ from request to request; one client in ten leaves while it
is being answered. The answers alone come from the same server while nobody else asks.
"""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.runtime.server import models
from tests.runtime.server.callers import REFUSALS, WAYS, Call, heard, leave, same
from tests.runtime.server.harness import Running, running
from tests.runtime.server.xtts import make_engine, one_thread, xtts
from tests.speech.audio import Mono
from voxraga_runtime.server.engines.base import Engine
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.server.engines.processes import ProcessEngine
from voxraga_runtime.store.sources.local import voices

pytestmark = pytest.mark.usefixtures("few_threads")

CLIENTS = 16
PATIENCE = 600  # seconds in the queue: on a busy machine, too, nobody is to be refused
REQUESTS = 125  # of each engine
LEAVERS = 10  # every tenth
LOSSLESS = ("wav", "pcm", "flac")
FORMATS = (*LOSSLESS, "mp3", "opus", "aac")
SPEEDS = (1.0, 0.75, 1.5, 1.25)
ROUNDING = 1.5 / 32768  # of full scale: a batch adds up in another order, and a sample may round the other way
SUBJECTS = ("The boat", "A small bird", "My neighbour", "The old clock", "Her letter")
VERBS = ("crossed", "left", "found", "forgot", "painted")
OBJECTS = ("the river", "a garden", "seven stones", "the evening train", "nobody")
Answer = tuple[Mono, int]


@dataclass(frozen=True)
class Served:
    """A server with what its requests may ask for, and how exact its samples are."""

    server: Running
    voices: tuple[str, ...]
    formats: tuple[str, ...] = FORMATS
    tolerance: float = 0.0


def calls(served: Served, count: int) -> list[Call]:
    """Requests that all differ, in every combination of the options."""
    sentences = itertools.product(SUBJECTS, VERBS, OBJECTS)
    options = itertools.cycle(itertools.product(WAYS, served.formats, served.voices))
    made = []
    for i, (words, (way, form, voice)) in enumerate(zip(sentences, options, strict=False)):
        text = " ".join(words) + "." + (f" Then {SUBJECTS[i % 5].lower()} slept." if i % 3 == 0 else "")
        made.append(Call(way, text, voice, form, SPEEDS[i % len(SPEEDS)], seed=i))
    return made[:count]


def crowd(
    url: str, asked: list[Call], one: Callable[[str, Call], Answer | None] = heard, after: Callable[[], object] = int
) -> list[Answer | None]:
    """The answers to sixteen clients at once, while every tenth asks once more and leaves; `after` the half of them."""
    halfway = threading.Semaphore(0)

    def answered(i: int) -> Answer | None:
        try:
            if i % LEAVERS == 0:
                assert leave(url, asked[i])
            return one(url, asked[i])
        finally:
            halfway.release()

    def interfere() -> None:
        for _ in range(len(asked) // 2):
            halfway.acquire()
        after()

    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        interfering = threads.submit(interfere)
        answers = list(threads.map(answered, range(len(asked))))
        interfering.result()
    return answers


def demo(_: Path) -> tuple[Callable[[], Engine], Path]:
    return lambda: CoquiEngine(voices() / "demo"), voices() / "demo"


def sliced(folder: Path) -> tuple[Callable[[], Engine], Path]:
    path = models.vits(folder / "m", ("anna", "bert"))
    return lambda: CoquiEngine(path), path


def batched(folder: Path) -> tuple[Callable[[], Engine], Path]:
    path = models.vits(folder / "m", ("anna", "bert"))
    return lambda: CoquiEngine(path, max_batch=4), path


@pytest.fixture(scope="module", params=[demo, sliced, batched], ids=lambda make: make.__name__)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    make, path = request.param(tmp_path_factory.mktemp("model"))
    in_batches = request.param is batched
    with running(make, path, max_concurrency=4 if in_batches else 2, queue_timeout=PATIENCE) as server:
        known = tuple(v["id"] for v in server.client.get("/v1/audio/voices").json()["voices"])
        # encoders that leave something out make much of a rounding error
        yield Served(server, known, *((LOSSLESS, ROUNDING) if in_batches else ()))


def test_each_answer_is_the_one_its_request_gets_alone(served: Served) -> None:
    asked = calls(served, REQUESTS)
    together = crowd(served.server.url, asked)
    served.server.wait_health(in_flight=0, queue_size=0)
    wrong = [
        call
        for call, answer in zip(asked, together, strict=True)
        if answer is None or not same(heard(served.server.url, call), answer, served.tolerance)
    ]
    assert wrong == []
    assert len({answer[0].tobytes() for answer in together if answer}) == REQUESTS  # no two of them are alike


def test_a_model_that_keeps_state_in_processes_of_which_one_is_killed(tmp_path: Path) -> None:
    """XTTS: whoever the killed process spoke for is told so, all the others hear what they hear alone."""
    path = xtts(tmp_path / "m")
    engine = ProcessEngine(partial(make_engine, path), 2, one_thread)

    def attempt(url: str, call: Call) -> Answer | None:
        try:
            return heard(url, call)
        except REFUSALS:
            return None

    with running(engine, path, max_concurrency=2, queue_timeout=PATIENCE) as server:
        asked = calls(Served(server, ("Ana", "Bo")), REQUESTS)
        together = crowd(server.url, asked, attempt, lambda: os.kill(engine.pids()[0], signal.SIGKILL))
        server.wait_health(in_flight=0, queue_size=0)
        broken = [call for call, answer in zip(asked, together, strict=True) if answer is None]
        assert len(broken) <= 1, broken  # it spoke one utterance; what it had not begun was said again
        wrong = [
            call
            for call, answer in zip(asked, together, strict=True)
            if answer is not None and not same(heard(server.url, call), answer, 0.0)
        ]
        assert wrong == []
        assert server.metric("voxraga_worker_restarts_total") == 1
        assert all(len(heard(server.url, call)[0]) for call in broken)
