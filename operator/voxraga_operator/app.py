"""The running operator: its parts put together, started in order and stopped in order."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog

from voxraga_operator import watch
from voxraga_operator.cluster import ApiError, Cluster, Recorder
from voxraga_operator.leader import Elector, LeaseLostError
from voxraga_operator.metrics import Metrics
from voxraga_operator.observe import Capabilities, observe
from voxraga_operator.plan.types import Observed, Reads
from voxraga_operator.queue import Key, Timing, WorkQueue
from voxraga_operator.reconcile import Reconciler
from voxraga_operator.server import Server
from voxraga_operator.settings import OperatorSettings

log = structlog.get_logger(__name__)

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_NAMESPACE = "voxraga-system"
_DRAIN = 20.0  # the pod's grace period is 30 s
_THREAD = 5.0
_WATCHES = "watches"


class Operator:
    def __init__(self, settings: OperatorSettings, cluster: Cluster, metrics: Metrics) -> None:
        self._settings = settings
        self._cluster = cluster
        self._metrics = metrics
        self._timing = Timing(workers=settings.workers, resync=settings.resync_seconds)
        self._identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        self._capabilities = Capabilities(cluster)
        self._queue = WorkQueue(
            Reconciler(cluster, self._observe, Recorder(cluster, instance=socket.gethostname()), settings),
            timing=self._timing,
            every_key=self._every_key,
            hooks=metrics,
        )
        self._watches = watch.Watches(
            on_change=self._queue.add,
            login=cluster.connection,
            namespaces=settings.watch_namespaces,
            on_event=metrics.event,
        )
        self._elector = Elector(cluster, namespace=_own_namespace(settings), identity=self._identity)
        self._working = False
        self._server = Server(metrics.registry, healthy=[self._watch_problem, self._queue_problem], ready=[self._ready])

    async def run(self, stop: asyncio.Event) -> int:
        """Until told to stop (0), or until a part of it ends, which none should (1): the kubelet starts it afresh."""
        await self._server.start(self._settings.listen, self._settings.port)
        log.info("serving", port=self._server.port, identity=self._identity)
        try:
            if not await _first(self._become_leader(), stop):
                await self._elector.release()
                return 0
            return await self._work(stop)
        finally:
            await self._server.stop()

    async def _become_leader(self) -> None:
        await self._wait_for_crd()  # first: a lease is renewed only once the work begins
        if self._settings.leader_election:
            await self._elector.acquire()
        self._metrics.leading(True)

    async def _wait_for_crd(self) -> None:
        """The informer looks up its resources once: it must not start before they are there."""
        while True:
            try:
                await self._cluster.list(watch.PARENT, next(iter(self._settings.watch_namespaces), ""))
            except ApiError as error:
                log.warning("waiting for the API", error=str(error))
                await asyncio.sleep(2.0)
            else:
                return

    async def _work(self, stop: asyncio.Event) -> int:
        self._working = True
        parts = [self._part("queue", self._queue.run()), self._part(_WATCHES, self._watches.run())]
        if self._settings.leader_election:
            parts.append(self._part("lease", self._elector.hold()))
        stopping = self._part("stop", stop.wait())
        await asyncio.wait([*parts, stopping], return_when=asyncio.FIRST_COMPLETED)
        ended = next((part for part in parts if part.done()), None)
        stopping.cancel()
        if ended is not None:
            log.error("a part of the operator ended", part=ended.get_name(), error=repr(ended.exception()))
        await self._wind_down(parts, lost=ended is not None and isinstance(ended.exception(), LeaseLostError))
        return 0 if ended is None else 1

    async def _wind_down(self, parts: list[asyncio.Task[Any]], *, lost: bool) -> None:
        """Nothing new comes in; what is under way ends; then the next leader may start. A lost lease allows no more."""
        self._watches.stop()
        if not lost:
            drained = await self._queue.drain(_DRAIN)
            log.info("drained", complete=drained)
        for part in parts:
            if part.get_name() != _WATCHES:  # only reads; its thread has to end before this loop does
                part.cancel()
        await asyncio.wait(parts, timeout=_THREAD)
        self._metrics.leading(False)
        await self._elector.release()
        log.info("stopped")

    async def _observe(self, namespace: str, reads: Reads) -> Observed:
        return await observe(self._cluster, self._capabilities, namespace, reads)

    async def _every_key(self) -> list[Key]:
        found = [await self._cluster.list(watch.PARENT, where) for where in self._settings.watch_namespaces or ("",)]
        return [key for models in found for model in models if (key := watch.key_of(watch.PARENT, model)) is not None]

    def _part(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.create_task(work, name=name)

    def _watch_problem(self) -> str | None:
        return self._watches.problem() if self._working else None

    def _queue_problem(self) -> str | None:
        stuck = self._queue.longest_run()
        return f"a reconcile runs for {stuck:.0f} s" if stuck > self._timing.work_timeout + 30 else None

    def _ready(self) -> str | None:
        """A process that waits for the lease is ready too, or a rolling update would never end."""
        return self._watches.synced() if self._working else None


async def main(settings: OperatorSettings, kubeconfig: str | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    cluster = await Cluster.connect(kubeconfig, hooks=metrics, timeout=settings.request_timeout_seconds)
    try:
        return await Operator(settings, cluster, metrics).run(stop)
    finally:
        await cluster.close()


async def _first(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether the work ended before the stop was asked for."""
    task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        stopping.cancel()
        task.result()
        return True
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return False


def _own_namespace(settings: OperatorSettings) -> str:
    if settings.namespace:
        return settings.namespace
    if _NAMESPACE_FILE.is_file():
        return _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    return os.environ.get("POD_NAMESPACE", _DEFAULT_NAMESPACE)
