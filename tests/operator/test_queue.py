"""The work queue, on a clock that jumps."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.operator.virtual_time import run
from voxraga_operator.queue import Key, Timing, WorkQueue

A, B = Key("VoiceModel", "default", "a"), Key("VoiceModel", "default", "b")


def now() -> float:
    return asyncio.get_running_loop().time()


class Bench:
    """A queue whose work is noted, with the time it began."""

    def __init__(self, work: Callable[[Key], Awaitable[float | None]] | None = None, **timing: float) -> None:
        self.began: list[tuple[Key, float]] = []
        self._work = work
        self.queue = WorkQueue(
            self._note,
            timing=Timing(**timing),  # type: ignore[arg-type]
            jitter=lambda _low, high: high,
        )

    async def _note(self, key: Key) -> float | None:
        self.began.append((key, now()))
        return await self._work(key) if self._work else None

    def times(self, key: Key = A) -> list[float]:
        return [round(when, 3) for who, when in self.began if who == key]

    async def run_for(self, seconds: float, also: Awaitable[None] | None = None) -> None:
        task = asyncio.create_task(self.queue.run())
        try:
            if also is not None:
                await also
            await asyncio.sleep(seconds)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_a_key_that_is_added_often_while_it_waits_is_worked_on_once() -> None:
    async def main() -> None:
        bench = Bench()
        for _ in range(10):
            bench.queue.add(A)
        bench.queue.add(B)
        await bench.run_for(1)
        assert [key for key, _ in bench.began] == [A, B]

    run(main())


def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_once_more_and_never_twice_at_a_time() -> None:
    async def main() -> None:
        running = greatest = 0

        async def work(_: Key) -> None:
            nonlocal running, greatest
            running += 1
            greatest = max(greatest, running)
            await asyncio.sleep(1)
            running -= 1

        bench = Bench(work, workers=4)

        async def events() -> None:
            bench.queue.add(A)
            await asyncio.sleep(0.2)
            for _ in range(5):
                bench.queue.add(A)

        await bench.run_for(10, events())
        assert bench.times() == [0, 1]
        assert greatest == 1

    run(main())


def test_as_many_keys_as_there_are_workers_run_side_by_side() -> None:
    async def main() -> None:
        bench = Bench(lambda _: asyncio.sleep(1), workers=3)
        for index in range(7):
            bench.queue.add(Key("VoiceModel", "default", str(index)))
        await bench.run_for(10)
        assert [when for _, when in bench.began] == [0, 0, 0, 1, 1, 1, 2]

    run(main())


def test_failures_back_off_up_to_the_bound_and_success_forgets_them() -> None:
    async def main() -> None:
        outcomes = iter([True, True, True, True, True, False, True, False])

        async def work(_: Key) -> None:
            if next(outcomes):
                raise RuntimeError("no")

        bench = Bench(work, first_backoff=1, greatest_backoff=4)
        bench.queue.add(A)

        async def later() -> None:
            await asyncio.sleep(20)
            bench.queue.add(A)

        await bench.run_for(10, later())
        assert bench.times() == [0, 1, 3, 7, 11, 15, 20, 21]

    run(main())


def test_a_server_that_says_when_to_come_back_is_obeyed() -> None:
    class BusyError(Exception):
        retry_after = 7.0

    async def main() -> None:
        async def work(_: Key) -> None:
            if now() < 7:
                raise BusyError

        bench = Bench(work, first_backoff=1)
        bench.queue.add(A)
        await bench.run_for(20)
        assert bench.times() == [0, 7]

    run(main())


def test_an_event_cuts_a_backoff_short() -> None:
    async def main() -> None:
        async def work(_: Key) -> None:
            if now() < 2:
                raise RuntimeError("no")

        bench = Bench(work, first_backoff=100)
        bench.queue.add(A)

        async def event() -> None:
            await asyncio.sleep(3)
            bench.queue.add(A)

        await bench.run_for(300, event())
        assert bench.times() == [0, 3]

    run(main())


def test_work_asks_to_come_back_and_the_earlier_of_two_wishes_wins() -> None:
    async def main() -> None:
        async def work(_: Key) -> float | None:
            return 5.0 if now() < 1 else None

        bench = Bench(work)
        bench.queue.add(A)
        bench.queue.add_after(B, 9)
        bench.queue.add_after(B, 3)
        bench.queue.add_after(B, 6)
        await bench.run_for(20)
        assert bench.times(A) == [0, 5]
        assert bench.times(B) == [3]

    run(main())


def test_work_that_never_ends_is_cut_off_and_counts_as_a_failure() -> None:
    async def main() -> None:
        async def work(_: Key) -> None:
            if now() < 1:
                await asyncio.sleep(1000)

        bench = Bench(work, work_timeout=10, first_backoff=2)
        bench.queue.add(A)
        await bench.run_for(50)
        assert bench.times() == [0, 12]

    run(main())


def test_a_resync_adds_every_key_at_once_at_first_and_spread_out_later() -> None:
    async def main() -> None:
        began: list[float] = []

        async def work(_: Key) -> None:
            began.append(round(now(), 3))

        async def keys() -> list[Key]:
            if 0 < now() < 150:
                raise RuntimeError("the API server is away")
            return [A]

        queue = WorkQueue(work, timing=Timing(resync=100), every_key=keys, jitter=lambda _low, high: high)
        task = asyncio.create_task(queue.run())
        await asyncio.sleep(230)
        assert began == [0, 220]  # 110: failed, 140: failed, 170: listed, spread over 50 s
        assert queue.last_resync_age() == pytest.approx(60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main())


def test_draining_finishes_what_runs_and_drops_what_waits() -> None:
    async def main() -> None:
        finished: list[Key] = []

        async def work(key: Key) -> None:
            await asyncio.sleep(2)
            finished.append(key)

        bench = Bench(work, workers=1)
        task = asyncio.create_task(bench.queue.run())
        bench.queue.add(A)
        await asyncio.sleep(1)
        bench.queue.add(B)
        bench.queue.add_after(Key("VoiceModel", "default", "c"), 1)
        assert bench.queue.longest_run() == 1
        assert await bench.queue.drain(10)
        assert now() == pytest.approx(2, abs=0.1)
        bench.queue.add(B)  # too late
        await asyncio.sleep(10)
        assert finished == [A]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main())


def test_draining_gives_up_after_its_time() -> None:
    async def main() -> None:
        bench = Bench(lambda _: asyncio.sleep(100))
        bench.queue.add(A)
        task = asyncio.create_task(bench.queue.run())
        await asyncio.sleep(0.1)
        assert not await bench.queue.drain(3)
        assert now() == pytest.approx(3.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main())


def test_the_hooks_hear_of_the_depth_and_of_each_outcome() -> None:
    class Hooks:
        depths: list[tuple[int, int]] = []  # noqa: RUF012
        ends: list[tuple[Key, float, str]] = []  # noqa: RUF012

        def depth(self, ready: int, delayed: int) -> None:
            self.depths.append((ready, delayed))

        def finished(self, key: Key, seconds: float, error: BaseException | None) -> None:
            self.ends.append((key, round(seconds, 3), type(error).__name__))

    async def main() -> None:
        async def work(key: Key) -> None:
            await asyncio.sleep(1)
            if key == B:
                raise RuntimeError("no")

        hooks = Hooks()
        queue = WorkQueue(work, hooks=hooks, timing=Timing(first_backoff=100), jitter=lambda _low, high: high)
        queue.add(A)
        queue.add(B)
        task = asyncio.create_task(queue.run())
        await asyncio.sleep(5)
        assert hooks.ends == [(A, 1, "NoneType"), (B, 1, "RuntimeError")]
        assert hooks.depths[-1] == (0, 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main())
