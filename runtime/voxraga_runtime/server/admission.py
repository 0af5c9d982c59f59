"""The bounded queue in front of the workers: who may run, who waits, who is turned away and for how long."""

import asyncio
import math
from collections import deque
from types import TracebackType
from typing import Any, Self

from voxraga_runtime.common.errors import ClientGone, Overloaded, Unavailable

SMOOTHING = 0.2  # weight of the newest request in the mean service time
LONGEST_RETRY = 60  # seconds; a client that is told more goes away for good


class Lane:
    """The requests for one model: at most `width` of them run at once (None: as many as there are slots)."""

    def __init__(self, width: int | None = None) -> None:
        self.width = width
        self.running = 0

    @property
    def free(self) -> bool:
        return self.width is None or self.running < self.width


class Lease:
    """A worker's slot. `release()` may be called more than once; as a context manager it releases at the end."""

    def __init__(self, admission: "Admission", lane: Lane) -> None:
        self._admission: Admission | None = admission
        self._lane = lane

    def release(self) -> None:
        if self._admission is not None:
            admission, self._admission = self._admission, None
            admission._release(self._lane)  # noqa: SLF001 - the two classes are one thing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Admission:
    """First come, first served within a lane; who could run never waits for a lane that is full.

    All methods belong to the event loop's thread. `slots` requests run at once, `depth` more may wait, each at most
    `timeout` seconds.
    """

    def __init__(self, slots: int, depth: int, timeout: float) -> None:
        self.slots = slots
        self._depth = depth
        self._timeout = timeout
        self._queue: deque[tuple[asyncio.Future[None], Lane]] = deque()
        self._mean_seconds = 1.0  # of service, until the first one was measured
        self._idle = asyncio.Event()
        self._idle.set()
        self.running = 0
        self.draining = False

    @property
    def waiting(self) -> int:
        """Requests in the queue; the running ones are not counted."""
        return len(self._queue)

    def retry_after(self) -> int:
        """Seconds until a request sent now would probably get a slot, from the service times so far."""
        ahead = self.waiting + 1
        return max(1, min(LONGEST_RETRY, math.ceil(ahead * self._mean_seconds / self.slots)))

    def observe(self, seconds: float) -> None:
        """Tell how long a request kept its slot."""
        self._mean_seconds += SMOOTHING * (seconds - self._mean_seconds)

    async def acquire(self, gone: asyncio.Event, lane: Lane | None = None) -> Lease:
        """Wait for a slot while the client is there (`gone` not set).

        Raises Overloaded (queue full), Unavailable (draining, or waited too long) and ClientGone.
        """
        if self.draining:
            raise Unavailable("the server is shutting down; send the request again", code="draining", retry_after=1)
        lane = lane or Lane()
        if self.running < self.slots and lane.free:  # whoever waits then, waits for his own lane
            self._begin(lane)
            return Lease(self, lane)
        if self.waiting >= self._depth:
            message = f"the queue is full: {self.waiting} requests wait and {self.running} run"
            raise Overloaded(message, retry_after=self.retry_after())
        await self._wait(gone, lane)
        return Lease(self, lane)

    async def _wait(self, gone: asyncio.Event, lane: Lane) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        leaving = asyncio.ensure_future(gone.wait())
        self._queue.append((turn, lane))
        self._idle.clear()
        try:
            futures: set[asyncio.Future[Any]] = {turn, leaving}
            await asyncio.wait(futures, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
            self._check(turn, gone)
        except BaseException:
            self._leave(turn, lane)
            raise
        finally:
            leaving.cancel()

    def _check(self, turn: "asyncio.Future[None]", gone: asyncio.Event) -> None:
        if gone.is_set():
            raise ClientGone("the client left while its request waited")
        if not turn.done():
            message = f"no worker was free within {self._timeout:g} s"
            raise Unavailable(message, code="queue_timeout", retry_after=self.retry_after())

    def _leave(self, turn: "asyncio.Future[None]", lane: Lane) -> None:
        if turn.done() and not turn.cancelled():
            self._release(lane)  # the slot came in the same moment
        else:
            turn.cancel()
            self._queue.remove((turn, lane))
            self._note_idle()

    def _begin(self, lane: Lane) -> None:
        self.running += 1
        lane.running += 1
        self._idle.clear()

    def _release(self, lane: Lane) -> None:
        self.running -= 1
        lane.running -= 1
        while self.running < self.slots and (place := self._next()) is not None:
            turn, its_lane = self._queue[place]
            del self._queue[place]
            self._begin(its_lane)
            turn.set_result(None)
        self._note_idle()

    def _next(self) -> int | None:
        """The place of the first one that could run."""
        return next((i for i, (turn, lane) in enumerate(self._queue) if lane.free and not turn.done()), None)

    def _note_idle(self) -> None:
        if self.running == 0 and not self._queue:
            self._idle.set()

    def drain(self) -> None:
        """Admit nobody from now on; whoever waits keeps his place."""
        self.draining = True

    async def idle(self) -> None:
        """Return once nobody runs and nobody waits."""
        await self._idle.wait()
