"""Synthesis outside the event loop: threads sized from the container's CPU limit, and the jobs they work on.

Threads, not processes: torch releases the interpreter lock while it computes, and the weights are shared.
Measured with VITS on 2 cores: 2 workers with 1 thread each inside their operations need 4.7 s for what
1 worker with 2 threads needs 7.8 s for.
"""

import asyncio
import contextlib
import math
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxraga_runtime.common.settings import ServerSettings
    from voxraga_runtime.server.engines.base import Word

CGROUP = Path("/sys/fs/cgroup")


def cpu_limit(root: Path = CGROUP) -> float:
    """CPUs this process may use: the cgroup's quota (v2, then v1), at most those it may be scheduled on."""
    available = float(len(os.sched_getaffinity(0)))
    quota = _quota_v2(root / "cpu.max") or _quota_v1(root / "cpu")
    return min(available, quota) if quota else available


def _quota_v2(path: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = path.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    return None


def _quota_v1(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return quota / int((folder / "cpu.cfs_period_us").read_text()) if quota > 0 else None
    return None


def worker_count(limit: float, threads: int) -> int:
    """How many workers of `threads` threads fill `limit` CPUs; a part of a CPU counts as one."""
    return max(1, math.ceil(limit) // threads)


def slots(settings: "ServerSettings", limit: float) -> int:
    """How many requests run at once under a limit of CPUs. On a GPU as many as a batch holds, or it never fills."""
    return settings.max_concurrency or max(
        worker_count(limit, settings.cpu_threads), settings.batch if settings.device == "cuda" else 1
    )


class Job:
    """One synthesis: a worker puts bytes in, the event loop takes them out as they come.

    What is made ahead of a slow client is kept here (its text is bounded), so that it doesn't hold the worker.
    """

    def __init__(self, words: "list[Word] | None" = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self._cancelled = threading.Event()
        self.done = asyncio.Event()
        self.words = (
            [] if words is None else words
        )  # of what was put so far; the worker adds a sentence's before its first bytes

    def cancel(self) -> None:
        """Nobody wants the rest: the worker stops at the next chunk."""
        self._cancelled.set()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def put(self, data: bytes) -> None:
        """Called by the worker."""
        if data:
            self._send(data)

    def put_item(self, item: object) -> None:
        """Called by the worker of a job that doesn't make bytes."""
        self._send(item)

    def _send(self, item: object) -> None:
        # the loop is closed where the server was stopped without waiting: nobody listens any more
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)

    def finish(self, error: BaseException | None = None) -> None:
        """Called by the worker, last."""
        self._send(error)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.done.set)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes that the worker puts, until it has finished; raises what it failed with."""
        async for item in self.items():
            yield item

    async def items(self) -> AsyncIterator[Any]:
        """Whatever the worker puts, until it has finished; raises what it failed with."""
        while (item := await self._items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item


class Workers:
    """A fixed number of threads; `setup` runs once in each."""

    def __init__(self, count: int, setup: Callable[[], None]) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="synthesis", initializer=setup)

    def start(self, job: Job, work: Callable[[Job], None]) -> "Future[None]":
        """Run `work(job)`; its end, however it comes, finishes the job."""
        return self._pool.submit(_run, job, work)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _run(job: Job, work: Callable[[Job], None]) -> None:
    try:
        work(job)
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the job
        job.finish(error)
    else:
        job.finish()
