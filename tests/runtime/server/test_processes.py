"""Engines in processes: equal answers, one at a time in each, cancelling, and processes that are killed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.runtime.server.callers import REFUSALS, Call, pieces
from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import PATIENCE, Running, running
from voxraga_runtime.common.errors import InvalidRequest, StartupError, SynthesisFailed, Unavailable
from voxraga_runtime.server.engines.base import Cancelled, Chunk, Utterance
from voxraga_runtime.server.engines.processes import ProcessEngine

SLICES = 10


class SlicedTones(ToneEngine):
    """In a process of its own: each sentence in slices that take `seconds`; some sentences are special."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(reentrant=False)
        self._seconds = seconds

    def synthesize(self, utterance: Utterance, cancelled: Cancelled) -> Iterator[Chunk]:
        for chunk in super().synthesize(utterance, cancelled):
            text = utterance.sentences[chunk.sentence]
            if text == "die.":
                os.kill(os.getpid(), signal.SIGKILL)
            if text == "refuse.":
                raise InvalidRequest("no", param="input", code="odd")
            if text == "fail.":
                raise ValueError("broken")
            for i, part in enumerate(np.array_split(chunk.samples, SLICES)):
                time.sleep(self._seconds)
                if cancelled():
                    return
                yield Chunk(part, chunk.sentence, final=i == SLICES - 1)


def nothing() -> None:
    pass


def unusable() -> ToneEngine:
    raise StartupError("ModelInvalid", "no such thing")


def dies() -> ToneEngine:
    os._exit(3)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessEngine]:
    made = ProcessEngine(SlicedTones, 2, nothing)
    made.load()
    yield made
    made.close()


def said(engine: ProcessEngine, *sentences: str, voice: str = "low") -> np.ndarray:
    utterance = Utterance(sentences, voice)
    return np.concatenate([c.samples for c in engine.synthesize(utterance, lambda: False)])


def alone(*sentences: str, voice: str = "low") -> np.ndarray:
    return np.concatenate([c.samples for c in ToneEngine().synthesize(Utterance(sentences, voice), lambda: False)])


def test_it_says_what_the_engine_says(pool: ProcessEngine) -> None:
    assert (pool.sample_rate, pool.architecture, pool.languages) == (16000, "tone", ("en", "de"))
    assert [v.id for v in pool.voices()] == ["low", "high"]
    assert (pool.capabilities.reentrant, pool.capabilities.parallel) == (True, 2)


def test_many_threads_get_their_own_answers(pool: ProcessEngine) -> None:
    texts = [("x" * (i + 1) + ".", "y.") for i in range(16)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda t: said(pool, *t, voice=("low", "high")[len(t[0]) % 2]), texts))
    for text, answer in zip(texts, answers, strict=True):
        np.testing.assert_array_equal(answer, alone(*text, voice=("low", "high")[len(text[0]) % 2]))


def test_errors_cross_over(pool: ProcessEngine) -> None:
    with pytest.raises(InvalidRequest) as refused:
        said(pool, "refuse.")
    assert (refused.value.message, refused.value.param, refused.value.code) == ("no", "input", "odd")
    with pytest.raises(SynthesisFailed):
        said(pool, "fail.")
    np.testing.assert_array_equal(said(pool, "well."), alone("well."))


def test_who_leaves_takes_nothing_along(pool: ProcessEngine) -> None:
    """Cancelled and abandoned utterances leave nothing for the next one to hear."""
    for _ in range(4):
        left = pool.synthesize(Utterance(("a long sentence.", "another."), "high"), lambda: False)
        next(left)
        left.close()  # type: ignore[attr-defined]
        stop = threading.Event()
        heard = 0
        for _chunk in pool.synthesize(Utterance(("a long sentence.", "another."), "high"), stop.is_set):
            heard += 1
            stop.set()
        assert heard == 1
        np.testing.assert_array_equal(said(pool, "short."), alone("short."))


def test_a_sentence_that_kills_is_tried_twice(pool: ProcessEngine) -> None:
    restarts: list[int] = []
    pool.on_restart = lambda: restarts.append(1)
    with pytest.raises(Unavailable) as told:
        said(pool, "fine.", "die.", "never.")
    assert told.value.code == "worker_died"
    assert len(restarts) == 2
    np.testing.assert_array_equal(said(pool, "well."), alone("well."))


def test_killed_while_idle(pool: ProcessEngine) -> None:
    before = pool.pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for _ in before:
        np.testing.assert_array_equal(said(pool, "one.", "two."), alone("one.", "two."))
    assert not set(before) & set(pool.pids())


@pytest.mark.parametrize(("make", "told"), [(unusable, "no such thing"), (dies, "died")])
def test_a_start_that_cannot_succeed(make: object, told: str) -> None:
    with pytest.raises(StartupError, match=told):
        ProcessEngine(make, 1, nothing).load()  # type: ignore[arg-type]


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Running, ProcessEngine]]:
    engine = ProcessEngine(partial(SlicedTones, 0.05), 1, nothing)
    with running(engine, tmp_path, max_concurrency=1) as server:
        yield server, engine


def speak(server: Running, text: str, **more: object) -> httpx.Response:
    return server.client.post("/v1/audio/speech", json={"input": text, "response_format": "pcm", **more})


def listen_and_kill(server: Running, engine: ProcessEngine) -> None:
    """Kill the process at the first audio, and go on listening."""
    body = {"input": "A long sentence here.", "response_format": "pcm", "stream": True}
    with server.client.stream("POST", "/v1/audio/speech", json=body) as answer:
        parts = answer.iter_bytes()
        next(parts)
        os.kill(engine.pids()[0], signal.SIGKILL)
        for _ in parts:
            pass


def test_killed_in_mid_sentence(slow: tuple[Running, ProcessEngine]) -> None:
    """A listener's stream breaks off, a whole answer is a 503 to try again; the next request is served, and counted."""
    server, engine = slow
    with pytest.raises(httpx.RemoteProtocolError):
        listen_and_kill(server, engine)
    after = speak(server, "And the next one.")
    assert after.status_code == 200
    assert server.metric("voxraga_worker_restarts_total") == 1
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(speak, server, "A long sentence here.", stream=False)
        server.wait_health(in_flight=1)
        time.sleep(0.3)  # the process has it
        os.kill(engine.pids()[0], signal.SIGKILL)
        answered = waiting.result(PATIENCE)
    assert answered.status_code == 503
    assert answered.json()["error"]["code"] == "worker_died"
    assert answered.headers["retry-after"] == "1"
    assert speak(server, "And the next one.").content == after.content
    assert server.metric("voxraga_worker_restarts_total") == 2


@pytest.mark.parametrize(
    ("way", "form", "told"),
    [
        ("openai streaming", "wav", "peer closed connection"),
        ("native", "opus", "peer closed connection"),
        ("events", "mp3", "worker_died"),
        ("websocket", "pcm", "worker_died"),
    ],
)
def test_every_stream_ends_in_an_error(slow: tuple[Running, ProcessEngine], way: str, form: str, told: str) -> None:
    """Nobody takes the part for the whole: the connection breaks off, or the error is said where there is a way to."""
    server, engine = slow
    text = "A long sentence here. And another one."
    stream = pieces(server.url, Call(way, text, "low", form))
    assert next(stream)
    os.kill(engine.pids()[0], signal.SIGKILL)
    with pytest.raises(REFUSALS, match=told):
        list(stream)
    server.wait_health(in_flight=0)
    assert speak(server, "And the next one.").status_code == 200
    assert server.metric("voxraga_worker_restarts_total") == 1


def test_killed_before_anything_was_said(slow: tuple[Running, ProcessEngine]) -> None:
    """Nobody notices but the metric."""
    server, engine = slow
    first = speak(server, "Hello.")
    os.kill(engine.pids()[0], signal.SIGKILL)
    again = speak(server, "Hello.")
    assert (again.status_code, again.content) == (200, first.content)
    assert server.metric("voxraga_worker_restarts_total") == 1
