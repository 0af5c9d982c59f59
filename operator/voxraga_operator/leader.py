"""Leader election by a Lease: at most one process writes.

Own, as the client library's election goes by wall clocks and strings, gives the lease up on an answer that it can't
read, and dies without stopping the work on a socket error. Here:

- another's lease counts as expired once it has not changed for its whole duration *on our own monotonic clock*;
- ours counts from before the request that renewed it, and the renewing gives up well before it ends;
- a watchdog thread ends the process even where the event loop hangs: a process that comes back late must not write.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from voxraga_operator.cluster import ApiError, Cluster

log = structlog.get_logger(__name__)

_LOST_EXIT = 3


class LeaseLostError(Exception):
    """Somebody else may be the leader from now on."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    duration: float = 15.0
    """For how long others leave a lease alone that is not renewed."""
    deadline: float = 10.0
    """After how long without a renewal the holder gives up; the rest of the duration is for stopping."""
    retry: float = 2.0


class Elector:
    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        identity: str,
        name: str = "voxraga-operator",
        terms: Terms | None = None,
        exit_process: Callable[[int], Any] = os._exit,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._terms = terms or Terms()
        self._exit = exit_process
        self._seen: tuple[str, float] | None = None  # another's resourceVersion, and since when we know it
        self._renewed = 0.0
        self._watchdog: threading.Event | None = None
        self.leading = False

    async def acquire(self) -> None:
        """Waits until the lease is ours."""
        while not await self._try():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(self._terms.retry)
        self.leading = True
        self._start_watchdog()
        log.info("leading", identity=self._identity)

    async def hold(self) -> None:
        """Renews for ever; raises LeaseLostError once it can't."""
        while True:
            await asyncio.sleep(self._terms.retry)
            try:
                left = self._renewed + self._terms.deadline - time.monotonic()
                async with asyncio.timeout(max(left, 0.0)):
                    await self._renew()
            except TimeoutError:
                self.leading = False
                raise LeaseLostError(f"not renewed for {self._terms.deadline:g} s") from None

    async def release(self) -> None:
        """Lets the next one in at once. Only after the last write."""
        self._stop_watchdog()
        if not self.leading:
            return
        self.leading = False
        with contextlib.suppress(ApiError):  # then it expires by itself
            lease = await self._get()
            if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._cluster.replace(lease, timeout=self._terms.retry)

    async def _renew(self) -> None:
        while not await self._try():
            if not self.leading:
                raise LeaseLostError("another process took the lease")
            await asyncio.sleep(min(1.0, self._terms.retry))

    async def _try(self) -> bool:
        """One attempt to take or renew it. An error is no reason to give up: the deadline is."""
        before = time.monotonic()
        try:
            lease = await self._get()
            if lease is None:
                await self._cluster.create(self._new(), timeout=self._terms.retry)
            elif self._ours(lease) or self._expired(lease):
                # The resourceVersion that was read is sent along: of two that try, one gets a conflict.
                await self._cluster.replace(self._taken(lease), timeout=self._terms.retry)
            else:
                self.leading = False
                return False
        except ApiError as error:
            log.warning("lease not renewed" if self.leading else "lease not acquired", error=str(error))
            return False
        self._renewed = before
        return True

    async def _get(self) -> dict[str, Any] | None:
        return await self._cluster.get("Lease", self._namespace, self._name, timeout=self._terms.retry)

    def _ours(self, lease: dict[str, Any]) -> bool:
        return bool(lease["spec"].get("holderIdentity") == self._identity)

    def _expired(self, lease: dict[str, Any]) -> bool:
        spec = lease["spec"]
        if not spec.get("holderIdentity"):
            return True
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, time.monotonic())
        return time.monotonic() - self._seen[1] > float(spec.get("leaseDurationSeconds") or self._terms.duration)

    def _new(self) -> dict[str, Any]:
        now = _now()
        spec = {"acquireTime": now, "renewTime": now, "leaseTransitions": 0, **self._claim()}
        metadata = {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _taken(self, lease: dict[str, Any]) -> dict[str, Any]:
        spec = dict(lease["spec"])
        if not self._ours(lease):
            spec |= {"acquireTime": _now(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        return {**lease, "spec": {**spec, "renewTime": _now(), **self._claim()}}

    def _claim(self) -> dict[str, Any]:
        return {"holderIdentity": self._identity, "leaseDurationSeconds": max(1, round(self._terms.duration))}

    def _start_watchdog(self) -> None:
        stop = self._watchdog = threading.Event()
        # Between the deadline, at which the loop should have given up by itself, and the end of the lease.
        limit = (self._terms.deadline + self._terms.duration) / 2

        def watch() -> None:
            while not stop.wait(self._terms.retry / 4):
                if time.monotonic() - self._renewed > limit:
                    log.critical("the lease runs out and the event loop hangs; ending the process")
                    self._exit(_LOST_EXIT)
                    return

        threading.Thread(target=watch, name="lease watchdog", daemon=True).start()

    def _stop_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.set()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
