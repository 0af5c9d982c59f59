"""Batches: who is put together, how long one waits, and that nobody hears anything of the others."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.runtime.server import models
from tests.runtime.server.test_vits import LONG
from voxraga_runtime.server.engines import vits
from voxraga_runtime.server.engines.base import Utterance
from voxraga_runtime.server.engines.batching import Batcher
from voxraga_runtime.server.engines.coqui import CoquiEngine

pytestmark = pytest.mark.usefixtures("few_threads")

DELAY = 0.2
FOREVER = 60.0


class Doubler:
    """Doubles numbers, and remembers which were doubled together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, _key: int, items: list[int]) -> list[int]:
        self.batches.append(items)
        if 13 in items:
            raise ValueError("unlucky")
        return [2 * i for i in items]


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


@pytest.fixture
def batcher(doubler: Doubler) -> Iterator[Batcher[int, int, int]]:
    made: Batcher[int, int, int] = Batcher(doubler, 3, FOREVER)
    yield made
    made.close()


def all_at_once(batcher: Batcher[int, int, int], numbers: list[int]) -> list[int]:
    """Each from a thread of its own, all members before the first hands in."""
    barrier = threading.Barrier(len(numbers))

    def one(number: int) -> int:
        with batcher.member():
            barrier.wait()
            return batcher.do(number % 2, number)

    with ThreadPoolExecutor(len(numbers)) as threads:
        return list(threads.map(one, numbers))


def test_alone_nobody_waits(batcher: Batcher[int, int, int], doubler: Doubler) -> None:
    started = time.monotonic()
    with batcher.member():
        assert [batcher.do(0, i) for i in range(3)] == [0, 2, 4]
    assert time.monotonic() - started < FOREVER
    assert doubler.batches == [[0], [1], [2]]


def test_equal_keys_go_together_up_to_the_size(batcher: Batcher[int, int, int], doubler: Doubler) -> None:
    assert all_at_once(batcher, [0, 2, 4, 6, 1, 3]) == [0, 4, 8, 12, 2, 6]
    assert all(len({i % 2 for i in batch}) == 1 and len(batch) <= 3 for batch in doubler.batches)
    assert len(doubler.batches) < 6


def test_the_wait_for_others_is_bounded(doubler: Doubler) -> None:
    hurried: Batcher[int, int, int] = Batcher(doubler, 3, DELAY)
    with hurried.member(), hurried.member():  # the second one hands nothing in
        started = time.monotonic()
        assert hurried.do(0, 1) == 2
        assert time.monotonic() - started >= DELAY * 0.9
    hurried.close()


def test_errors_reach_who_waits(batcher: Batcher[int, int, int]) -> None:
    with batcher.member(), pytest.raises(ValueError, match="unlucky"):
        batcher.do(0, 13)
    assert batcher.do(0, 1) == 2


def test_an_error_is_only_for_its_cause(batcher: Batcher[int, int, int]) -> None:
    barrier = threading.Barrier(3)

    def one(number: int) -> int | str:
        with batcher.member():
            barrier.wait()
            try:
                return batcher.do(0, number)
            except ValueError:
                return "unlucky"

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(one, [1, 13, 2])) == [2, "unlucky", 4]


def test_closed(doubler: Doubler) -> None:
    batcher: Batcher[int, int, int] = Batcher(doubler, 3, DELAY)
    batcher.close()
    with pytest.raises(RuntimeError, match="closed"):
        batcher.do(0, 1)


@pytest.mark.parametrize("noise", [True, False])
def test_each_row_is_what_it_is_alone(noise: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixed texts, voices, speeds and seeds through batches: the samples of an engine without batches."""
    path = models.vits(tmp_path / "m", ("anna", "bert"))
    single, batched = CoquiEngine(path), CoquiEngine(path, max_batch=4)
    sizes: list[int] = []
    together = vits.decode_together

    def counted(*args: object) -> list[torch.Tensor]:
        sizes.append(len(args[2]))  # type: ignore[arg-type]
        return together(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(vits, "decode_together", counted)
    for engine in (single, batched):
        engine.load()
        if not noise:
            engine._model.inference_noise_scale = engine._model.inference_noise_scale_dp = 0.0
    assert (single.capabilities.max_batch, batched.capabilities.max_batch) == (1, 4)
    asks = [
        Utterance(
            (LONG[: 30 + 8 * i], LONG),
            ("anna", "bert")[i % 2],
            speed=(1.0, 0.8, 1.5)[i % 3],
            seed=i,
            streamed=i % 2 == 0,
        )
        for i in range(8)
    ]

    def speak(engine: CoquiEngine, ask: Utterance) -> np.ndarray:
        torch.set_num_threads(1)
        return np.concatenate([c.samples for c in engine.synthesize(ask, lambda: False)])

    alone = [speak(single, ask) for ask in asks]
    with ThreadPoolExecutor(8) as threads:
        together_made = list(threads.map(lambda ask: speak(batched, ask), asks))
    batched.close()
    assert max(sizes) > 1
    for one, other in zip(alone, together_made, strict=True):
        assert len(one) == len(other)
        assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max()
