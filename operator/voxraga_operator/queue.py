"""A keyed work queue: one worker a key, deduplication, backoff with jitter, delayed requeues, a slow full resync.

An event only names a key; whatever the key stands for is looked at afresh when its turn comes. So a key that is added
while it is being worked on has to be worked on once more (the worker may have looked before the change), and a key that
is added ten times while it waits has to be worked on once.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import structlog

log = structlog.get_logger(__name__)


class Key(NamedTuple):
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Hooks(Protocol):
    """What the metrics want to know."""

    def depth(self, ready: int, delayed: int) -> None: ...
    def finished(self, key: Key, seconds: float, error: BaseException | None) -> None: ...


class _NoHooks:
    def depth(self, ready: int, delayed: int) -> None: ...
    def finished(self, key: Key, seconds: float, error: BaseException | None) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Timing:
    workers: int = 8
    first_backoff: float = 0.5
    greatest_backoff: float = 300.0
    # A pass makes some dozens of calls with timeouts of their own; one that takes longer than this is stuck.
    work_timeout: float = 180.0
    resync: float = 600.0


Work = Callable[[Key], Awaitable[float | None]]
"""Works on a key; returns after how many seconds to come back, if at all. An exception means: again, after a backoff
(at least its `retry_after` seconds, where it has that attribute)."""

Keys = Callable[[], Awaitable[Iterable[Key]]]


class WorkQueue:
    def __init__(
        self,
        work: Work,
        *,
        timing: Timing | None = None,
        every_key: Keys | None = None,
        hooks: Hooks | None = None,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._work = work
        self._timing = timing or Timing()
        self._every_key = every_key
        self._hooks = hooks or _NoHooks()
        self._jitter = jitter
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()  # in _ready
        self._running: dict[Key, float] = {}  # since when
        self._again: set[Key] = set()  # added while running
        self._delayed: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._resynced: float | None = None

    def add(self, key: Key) -> None:
        """Look at this key as soon as possible; a backoff is cut short, as the event may bring what was missing."""
        if self._stopping:
            return
        if (timer := self._delayed.pop(key, None)) is not None:
            timer.cancel()
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)
        self._report()

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at this key in so many seconds, or sooner if that was asked for already."""
        if self._stopping or key in self._waiting or key in self._again:
            return
        loop = asyncio.get_running_loop()
        timer = self._delayed.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._delayed[key] = loop.call_later(seconds, self.add, key)
        self._report()

    async def run(self) -> None:
        """Works until cancelled. No task should end: the first that does ends the queue, and with it the operator."""
        async with asyncio.TaskGroup() as group:
            for index in range(self._timing.workers):
                group.create_task(self._worker(), name=f"queue worker {index}")
            if self._every_key is not None:
                group.create_task(self._resync(self._every_key), name="queue resync")

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - the caller's grace period, and no error when it ends
        """Takes nothing on any more and waits for what is being worked on; False where that took too long.

        What waits is dropped: the next process lists everything anyway.
        """
        self._stopping = True
        for timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()
        self._again.clear()
        while not self._ready.empty():
            self._waiting.discard(self._ready.get_nowait())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        return not self._running

    def longest_run(self) -> float:
        """For how long the slowest key has been worked on: the liveness probe asks."""
        now = asyncio.get_running_loop().time()
        return max((now - since for since in self._running.values()), default=0.0)

    def last_resync_age(self) -> float | None:
        now = asyncio.get_running_loop().time()
        return None if self._resynced is None else now - self._resynced

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            await self._work_on(key)

    async def _work_on(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        started = self._running[key] = loop.time()
        self._idle.clear()
        error: BaseException | None = None
        after: float | None = None
        try:
            async with asyncio.timeout(self._timing.work_timeout):
                after = await self._work(key)
        except Exception as problem:  # noqa: BLE001 - whatever one object does, the others go on
            error = problem
        finally:
            del self._running[key]
            if not self._running:
                self._idle.set()
        self._hooks.finished(key, loop.time() - started, error)
        self._schedule(key, after, error)

    def _schedule(self, key: Key, after: float | None, error: BaseException | None) -> None:
        if error is None:
            self._failures.pop(key, None)
        else:
            after = self._backoff(key, error)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif after is not None:
            self.add_after(key, after)
        self._report()

    def _backoff(self, key: Key, error: BaseException) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded, or an object that fails for a month overflows a float.
        delay: float = min(self._timing.first_backoff * 2.0 ** min(failures, 30), self._timing.greatest_backoff)
        delay = max(delay * self._jitter(0.5, 1.0), getattr(error, "retry_after", None) or 0.0)
        log.warning(
            "reconcile failed", key=str(key), failures=failures + 1, again_in=round(delay, 1), error=repr(error)
        )
        return delay

    async def _resync(self, every_key: Keys) -> None:
        """A missed event costs at most one period. Spread out, so that a thousand objects are no burst."""
        period = self._timing.resync
        while True:
            try:
                keys = list(await every_key())
            except Exception as error:  # noqa: BLE001 - the next period tries again, and the watches still work
                log.warning("resync failed", error=repr(error))
                await asyncio.sleep(min(30.0, period))
                continue
            first = self._resynced is None
            self._resynced = asyncio.get_running_loop().time()
            for key in keys:
                self.add_after(key, 0.0 if first else self._jitter(0.0, period / 2))
            await asyncio.sleep(self._jitter(0.9, 1.1) * period)

    def _report(self) -> None:
        with contextlib.suppress(Exception):  # a metric must not end the queue
            self._hooks.depth(len(self._waiting), len(self._delayed))
