"""The queue: who runs, who waits, who is turned away."""

import asyncio

import pytest

from voxraga_runtime.common.errors import ClientGone, Overloaded, Unavailable
from voxraga_runtime.server.admission import Admission, Lane, Lease


def waiter(admission: Admission, gone: asyncio.Event | None = None) -> "asyncio.Task[Lease]":
    return asyncio.create_task(admission.acquire(gone or asyncio.Event()))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_slots_then_queue_then_refusal() -> None:
    admission = Admission(slots=2, depth=1, timeout=5)
    running = [await admission.acquire(asyncio.Event()) for _ in range(2)]
    waiting = waiter(admission)
    await settle()
    assert (admission.running, admission.waiting) == (2, 1)
    with pytest.raises(Overloaded, match="1 requests wait and 2 run") as caught:
        await admission.acquire(asyncio.Event())
    assert caught.value.retry_after == 1
    running[0].release()
    lease = await waiting
    assert (admission.running, admission.waiting) == (2, 0)
    lease.release()
    lease.release()  # twice is once
    running[1].release()
    assert admission.running == 0


async def test_first_come_first_served() -> None:
    admission = Admission(slots=1, depth=10, timeout=5)
    order: list[int] = []

    async def one(number: int) -> None:
        with await admission.acquire(asyncio.Event()):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(i) for i in range(6)))
    assert order == list(range(6))


async def test_nobody_overtakes_the_queue() -> None:
    admission = Admission(slots=1, depth=10, timeout=5)
    first = await admission.acquire(asyncio.Event())
    second = waiter(admission)
    await settle()
    first.release()
    third = waiter(admission)
    await settle()
    assert second.done()
    assert not third.done()
    (await second).release()
    (await third).release()


async def test_waiting_too_long_is_503() -> None:
    admission = Admission(slots=1, depth=1, timeout=0.01)
    await admission.acquire(asyncio.Event())
    with pytest.raises(Unavailable) as caught:
        await admission.acquire(asyncio.Event())
    assert (caught.value.code, admission.waiting) == ("queue_timeout", 0)
    assert caught.value.retry_after


async def test_client_that_leaves_leaves_the_queue() -> None:
    admission = Admission(slots=1, depth=1, timeout=5)
    running = await admission.acquire(asyncio.Event())
    gone = asyncio.Event()
    waiting = waiter(admission, gone)
    await settle()
    gone.set()
    with pytest.raises(ClientGone):
        await waiting
    assert admission.waiting == 0
    running.release()
    assert admission.running == 0


async def test_client_that_leaves_as_its_turn_comes_frees_the_slot() -> None:
    admission = Admission(slots=1, depth=1, timeout=5)
    running = await admission.acquire(asyncio.Event())
    gone = asyncio.Event()
    waiting = waiter(admission, gone)
    await settle()
    gone.set()
    running.release()
    with pytest.raises(ClientGone):
        await waiting
    assert (admission.running, admission.waiting) == (0, 0)


async def test_cancelled_waiter_leaves_nothing_behind() -> None:
    admission = Admission(slots=1, depth=1, timeout=5)
    running = await admission.acquire(asyncio.Event())
    waiting = waiter(admission)
    await settle()
    waiting.cancel()
    await settle()
    assert admission.waiting == 0
    running.release()
    await asyncio.wait_for(admission.idle(), 1)


async def test_retry_after_follows_the_service_time() -> None:
    admission = Admission(slots=2, depth=100, timeout=60)
    for _ in range(50):
        admission.observe(4.0)
    leases = [await admission.acquire(asyncio.Event()) for _ in range(2)]
    waiting = [waiter(admission) for _ in range(9)]
    await settle()
    assert admission.retry_after() == 22  # eleven requests of 4 s on two workers
    for task in waiting:
        task.cancel()
    for lease in leases:
        lease.release()


async def test_nobody_waits_in_vain() -> None:
    """Depth alone would let 100 wait, of whom 70 would be refused after 30 s: they hear it at once."""
    admission = Admission(slots=2, depth=100, timeout=30)
    admission.observe(2.0)
    leases = [await admission.acquire(asyncio.Event()) for _ in range(2)]
    waiting = [waiter(admission) for _ in range(15)]
    await settle()
    assert admission.waiting == 14  # with those that run, 16 s of work
    with pytest.raises(Overloaded, match="14 requests wait") as caught:
        await waiting.pop()
    assert caught.value.retry_after == 16
    leases.pop().release()
    (await waiting[0]).release()
    await settle()
    assert admission.retry_after() == 14
    for task in waiting:
        task.cancel()
    for lease in leases:
        lease.release()
    await settle()
    assert admission.retry_after() == 1


async def test_work_counts_not_heads() -> None:
    """One long text is as much as many short ones, however few were long so far."""
    admission = Admission(slots=1, depth=100, timeout=30)
    for _ in range(20):
        admission.observe(0.2, size=20)
    running = await admission.acquire(asyncio.Event(), size=2000)  # 20 s
    patient = waiter(admission)
    await settle()
    with pytest.raises(Overloaded):
        await admission.acquire(asyncio.Event(), size=20)
    running.release()
    (await patient).release()


async def test_slow_requests_may_still_wait_for_the_next_slot() -> None:
    admission = Admission(slots=1, depth=100, timeout=30)
    admission.observe(300.0)
    first = await admission.acquire(asyncio.Event())
    second = waiter(admission)
    await settle()
    assert admission.waiting == 1
    with pytest.raises(Overloaded):
        await admission.acquire(asyncio.Event())
    first.release()
    (await second).release()


async def test_drain_admits_nobody_and_serves_who_waits() -> None:
    admission = Admission(slots=1, depth=5, timeout=5)
    running = await admission.acquire(asyncio.Event())
    waiting = waiter(admission)
    await settle()
    admission.drain()
    with pytest.raises(Unavailable) as caught:
        await admission.acquire(asyncio.Event())
    assert caught.value.code == "draining"
    idle = asyncio.create_task(admission.idle())
    running.release()
    lease = await waiting
    await settle()
    assert not idle.done()
    lease.release()
    await asyncio.wait_for(idle, 1)


async def test_a_full_lane_holds_up_nobody_else() -> None:
    admission, narrow, gone = Admission(slots=2, depth=5, timeout=5), Lane(1), asyncio.Event()
    first = await admission.acquire(gone, narrow)
    second = asyncio.create_task(admission.acquire(gone, narrow))
    third = asyncio.create_task(admission.acquire(gone, narrow))
    await asyncio.sleep(0)
    assert (admission.running, admission.waiting) == (1, 2)
    other = await admission.acquire(gone)  # a slot is free, and its lane is another one
    another = asyncio.create_task(admission.acquire(gone))
    await asyncio.sleep(0)
    assert (admission.running, admission.waiting) == (2, 3)
    other.release()
    await another  # passes those of the full lane
    assert not second.done()
    first.release()
    (await second).release()
    (await third).release()
    (await another).release()
    await asyncio.wait_for(admission.idle(), 1)
    assert (narrow.running, admission.running) == (0, 0)


async def test_who_leaves_a_lane_leaves_its_place() -> None:
    admission, narrow, gone = Admission(slots=2, depth=1, timeout=5), Lane(1), asyncio.Event()
    first = await admission.acquire(gone, narrow)
    second = asyncio.create_task(admission.acquire(gone, narrow))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="1 requests wait and 1 run"):
        await admission.acquire(gone, narrow)
    gone.set()
    with pytest.raises(ClientGone):
        await second
    first.release()
    assert (narrow.running, admission.waiting) == (0, 0)
