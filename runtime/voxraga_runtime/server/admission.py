"""The bounded queue in front of the workers: who may run, who waits, who is turned away and for how long."""

import asyncio
import math
from collections import deque
from types import TracebackType
from typing import Any, Self

from voxraga_runtime.common.errors import ClientGone, Overloaded, Unavailable

FORGET = 0.05  # of what is known of service times, with each new one
HOPE = 0.5  # of the timeout: who would wait longer is told at once, for the estimate may be wrong by a factor of two
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

    def __init__(self, admission: "Admission", lane: Lane, size: float) -> None:
        self._admission: Admission | None = admission
        self._lane = lane
        self._size = size

    def release(self) -> None:
        if self._admission is not None:
            admission, self._admission = self._admission, None
            admission._release(self._lane)  # noqa: SLF001 - the two classes are one thing
            admission._load -= self._size  # noqa: SLF001

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Admission:
    """First come, first served within a lane; who could run never waits for a lane that is full.

    All methods belong to the event loop's thread. `slots` requests run at once, `depth` more may wait, each at most
    `timeout` seconds. Nobody waits in vain: as soon as it is known how long requests of what size take, the queue is
    full, too, where it holds too much work.
    """

    def __init__(self, slots: int, depth: int, timeout: float) -> None:
        self.slots = slots
        self._depth = depth
        self._timeout = timeout
        self._queue: deque[tuple[asyncio.Future[None], Lane]] = deque()
        self._load = 0.0  # sizes of all that run or wait
        self._seconds, self._sizes = 0.0, 0.0  # of service, and what it was for; the newest count most
        self._idle = asyncio.Event()
        self._idle.set()
        self.running = 0
        self.draining = False

    @property
    def waiting(self) -> int:
        """Requests in the queue; the running ones are not counted."""
        return len(self._queue)

    @property
    def _full(self) -> bool:
        """Also where one more would hardly get a slot in time; the next one for each slot may always try."""
        in_vain = self.waiting >= self.slots and self._expected_wait() > HOPE * self._timeout
        return self.waiting >= self._depth or in_vain

    def _expected_wait(self) -> float:
        """Seconds until a request sent now would probably get a slot; 0 until a service time is known."""
        return self._load / self.slots * self._seconds / self._sizes if self._sizes else 0.0

    def retry_after(self) -> int:
        """The expected wait in whole seconds, for Retry-After."""
        return max(1, min(LONGEST_RETRY, math.ceil(self._expected_wait())))

    def observe(self, seconds: float, size: float = 1.0) -> None:
        """Tell how long a request of this size kept its slot."""
        self._seconds += seconds - FORGET * self._seconds
        self._sizes += size - FORGET * self._sizes

    async def acquire(self, gone: asyncio.Event, lane: Lane | None = None, *, size: float = 1.0) -> Lease:
        """Wait for a slot while the client is there (`gone` not set). `size` is the work, in any unit that is kept to.

        Raises Overloaded (queue full), Unavailable (draining, or waited too long) and ClientGone.
        """
        if self.draining:
            raise Unavailable("the server is shutting down; send the request again", code="draining", retry_after=1)
        lane = lane or Lane()
        if self.running < self.slots and lane.free:  # whoever waits then, waits for his own lane
            self._begin(lane)
            self._load += size
            return Lease(self, lane, size)
        if self._full:
            message = f"the queue is full: {self.waiting} requests wait and {self.running} run"
            raise Overloaded(message, retry_after=self.retry_after())
        self._load += size
        try:
            await self._wait(gone, lane)
        except BaseException:
            self._load -= size
            raise
        return Lease(self, lane, size)

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
