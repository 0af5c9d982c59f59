"""Pieces made ahead: in order, on idle cores only, stopped at once, and never another sample for it."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.runtime.server.test_vits import LONG
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server import main
from voxraga_runtime.server.engines.ahead import FAR, Check, Cores, Work
from voxraga_runtime.server.engines.base import Chunk, Utterance
from voxraga_runtime.server.engines.coqui import CoquiEngine

PATIENCE = 20  # seconds; only for a test that fails


def never() -> bool:
    return False


def numbered(number: int) -> Chunk:
    return Chunk(np.zeros(1, dtype=np.float32), number)


def told(number: int) -> Work:
    return lambda _check: numbered(number)


class Held:
    """Work that tells when it has begun, and ends when it is let go; or when it is stopped."""

    def __init__(self, number: int, made: Chunk | Sequence[Work] | None = None) -> None:
        self.begun, self.go, self.stopped = threading.Event(), threading.Event(), threading.Event()
        self.times = 0
        self._made = numbered(number) if made is None else made

    def __call__(self, check: Check) -> Chunk | Sequence[Work]:
        self.times += 1
        self.begun.set()
        try:
            while not self.go.wait(0.005):
                check()
        except BaseException:
            self.stopped.set()
            raise
        return self._made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def cores() -> Iterator[Callable[[int], Cores]]:
    made: list[Cores] = []

    def make(count: int) -> Cores:
        made.append(Cores(count))
        return made[-1]

    yield make
    for each in made:
        each.close()


def numbers(chunks: Iterator[Chunk]) -> list[int]:
    return [chunk.sentence for chunk in chunks]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_in_order_whoever_makes_it(count: int, cores: Callable[[int], Cores]) -> None:
    """A piece may turn out to be several, some of which are several again, or none."""
    works: list[Work] = [told(0), lambda _: [told(1), lambda _: [], lambda _: [told(2), told(3)]], told(4)]
    assert numbers(cores(count).speak(works * 20, never)) == [0, 1, 2, 3, 4] * 20


def test_an_idle_core_makes_what_comes_next(cores: Callable[[int], Cores], threads: ThreadPoolExecutor) -> None:
    held = [Held(i) for i in range(3)]
    spoken = threads.submit(lambda: numbers(cores(2).speak(held, never)))
    assert held[0].begun.wait(PATIENCE)
    assert held[1].begun.wait(PATIENCE)
    assert not held[2].begun.is_set()
    held[0].go.set()  # its core is idle while the second one is waited for
    assert held[2].begun.wait(PATIENCE)
    for each in held:
        each.go.set()
    assert spoken.result() == [0, 1, 2]
    assert [each.times for each in held] == [1, 1, 1]


def test_with_one_core_nothing_is_made_ahead(cores: Callable[[int], Cores]) -> None:
    mine: list[int] = []

    def work(_check: Check) -> Chunk:
        mine.append(threading.get_ident())
        return numbered(len(mine))

    spoken = cores(1).speak([work] * 3, never)
    for expected in (1, 2, 3):
        assert next(spoken).sentence == expected
        assert mine == [threading.get_ident()] * expected


def test_another_utterance_takes_the_core_back_at_once(
    cores: Callable[[int], Cores], threads: ThreadPoolExecutor
) -> None:
    shared, first, other = cores(2), [Held(0), Held(1)], Held(7)
    one = threads.submit(lambda: numbers(shared.speak(first, never)))
    assert first[1].begun.wait(PATIENCE)
    two = threads.submit(lambda: numbers(shared.speak([other, told(8)], never)))
    assert first[1].stopped.wait(PATIENCE)
    assert other.begun.wait(PATIENCE)
    other.go.set()
    assert two.result() == [7, 8]
    for each in first:
        each.go.set()
    assert one.result() == [0, 1]
    assert first[1].times == 2  # dropped, and made in its turn


def test_as_many_utterances_as_cores_make_nothing_ahead(
    cores: Callable[[int], Cores], threads: ThreadPoolExecutor
) -> None:
    shared, held = cores(2), [[Held(0), Held(1)] for _ in range(2)]
    barrier = threading.Barrier(2)

    def speak(works: list[Held]) -> list[int]:
        spoken = shared.speak([told(9), *works], never)
        first = next(spoken).sentence  # now both are being spoken
        barrier.wait(PATIENCE)
        return [first, *numbers(spoken)]

    results = [threads.submit(speak, works) for works in held]
    for works in held:
        assert works[0].begun.wait(PATIENCE)
        works[0].go.set()
        works[1].go.set()
    assert [r.result() for r in results] == [[9, 0, 1]] * 2


def test_an_error_is_raised_in_its_turn(cores: Callable[[int], Cores]) -> None:
    failed = threading.Event()

    def fails(_check: Check) -> Chunk:
        failed.set()
        raise ValueError("broken")

    def waits(_check: Check) -> Chunk:
        assert failed.wait(PATIENCE)
        return numbered(0)

    spoken = cores(2).speak([waits, fails, told(2)], never)
    assert next(spoken).sentence == 0
    with pytest.raises(ValueError, match="broken"):
        next(spoken)
    assert list(spoken) == []


def test_cancelling_stops_everything(cores: Callable[[int], Cores], threads: ThreadPoolExecutor) -> None:
    stop, held = threading.Event(), [Held(i) for i in range(3)]
    spoken = threads.submit(lambda: numbers(cores(3).speak(held, stop.is_set)))
    assert all(each.begun.wait(PATIENCE) for each in held)
    stop.set()
    assert spoken.result() == []
    assert all(each.stopped.is_set() for each in held)  # when it has ended, nobody works on it any more
    assert [each.times for each in held] == [1, 1, 1]


def test_who_takes_no_more_leaves_nothing_running(cores: Callable[[int], Cores]) -> None:
    held = Held(1)
    spoken = cores(2).speak([lambda _: (held.begun.wait(PATIENCE), numbered(0))[1], held], never)
    next(spoken)
    spoken.close()
    assert held.stopped.is_set()


def test_not_more_than_so_much_is_kept(cores: Callable[[int], Cores]) -> None:
    made = threading.Semaphore(0)

    def work(_check: Check) -> Chunk:
        made.release()
        return numbered(0)

    spoken = cores(2).speak([work] * 50, never)
    next(spoken)
    for _ in range(FAR * 2):
        assert made.acquire(timeout=PATIENCE)
    spoken.close()
    count = 0
    while made.acquire(blocking=False):
        count += 1
    assert count <= 1


def test_what_was_spoken_is_let_go(cores: Callable[[int], Cores]) -> None:
    def speak() -> "weakref.ref[torch.Tensor]":
        latents = torch.zeros(4)
        works: list[Work] = [lambda _: Chunk(latents.numpy().copy(), 0) for _ in range(5)]
        assert len(list(cores(2).speak([lambda _: works, *works], never))) == 10
        return weakref.ref(latents)

    seen = speak()
    gc.collect()
    assert seen() is None


def test_the_engines_of_a_process_share_its_cores(vits_bundle: Path) -> None:
    settings = load_settings(model_name="m", model_path=vits_bundle)
    one, other = (main._engine(settings) for _ in range(2))
    assert isinstance(one, CoquiEngine)
    assert isinstance(other, CoquiEngine)
    assert one._cores is other._cores


def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("bundle", ["vits_bundle", "speedy_bundle", "glow_bundle"])
def test_the_same_samples_alone_ahead_and_beside_others(bundle: str, request: pytest.FixtureRequest) -> None:
    """One after another on one core; alone on four; eight at once, which are taken cores away and given them."""
    path = request.getfixturevalue(bundle)
    shared = Cores(4, one_thread)
    plain, ahead = CoquiEngine(path), CoquiEngine(path, cores=shared)
    for engine in (plain, ahead):
        engine.load()
    voices = [voice.id for voice in plain.voices()]
    asks = [
        Utterance(
            (LONG[: 20 + 9 * i], "Short.", LONG),
            voices[i % len(voices)],
            speed=(1.0, 0.7, 1.6)[i % 3],
            seed=i,
            streamed=i % 2 == 0,
        )
        for i in range(8)
    ]

    def speak(engine: CoquiEngine, ask: Utterance) -> list[Chunk]:
        one_thread()
        return list(engine.synthesize(ask, never))

    with ThreadPoolExecutor(8) as pool:
        expected = [pool.submit(speak, plain, ask).result() for ask in asks]
        alone = [pool.submit(speak, ahead, ask).result() for ask in asks]
        together = list(pool.map(lambda ask: speak(ahead, ask), asks))
    shared.close()
    for want, *gots in zip(expected, alone, together, strict=True):
        for got in gots:
            assert [(c.sentence, c.final, c.words) for c in got] == [(c.sentence, c.final, c.words) for c in want]
            for one, other in zip(got, want, strict=True):
                np.testing.assert_array_equal(one.samples, other.samples)
