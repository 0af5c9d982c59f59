"""The informer: which change in the cluster leads to which key. The only module that knows kopf.

kopf lists, watches, relists and reconnects; its handlers here only name what to look at. It runs in a thread and an
event loop of its own, since at its end it cancels every task of its loop, the work in progress included.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf
import structlog

from voxraga_operator.api.common import GROUP, VERSION
from voxraga_operator.cluster import Connection
from voxraga_operator.cluster.resources import Resource, resource
from voxraga_operator.queue import Key

log = structlog.get_logger(__name__)

PARENT = "VoiceModel"
# Nodes, StorageClasses, Secrets and foreign claims are not watched: they would bring the events of a whole cluster and
# rights to list Secrets. What waits for one of them comes back by itself after a while (requeue_after).
CHILDREN = (
    "Deployment",
    "HorizontalPodAutoscaler",
    "Job",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "Service",
)
MANAGED = "app.kubernetes.io/managed-by=voxraga-operator"

_LOGIN_LIFETIME = timedelta(minutes=5)
_BEAT = 5.0
_SILENCE = 30.0

Login = Callable[[], Coroutine[Any, Any, Connection]]


@dataclass
class Pulse:
    """What the informer's thread last said of itself."""

    at: float = field(default_factory=time.monotonic)
    watchers: int = 0
    seen: int = 0


class Watches:
    def __init__(
        self,
        *,
        on_change: Callable[[Key], None],
        login: Login,
        namespaces: tuple[str, ...] = (),
        on_event: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        self._on_change = on_change
        self._login = login
        self._namespaces = namespaces
        self._on_event = on_event
        self._kopf_loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stopping = False
        self._pulse = Pulse()
        self._expected = len((PARENT, *CHILDREN)) * max(1, len(namespaces))

    async def run(self) -> None:
        """Ends only when stopped, or with what ended the informer."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def thread() -> None:
            error: BaseException | None = None
            try:
                asyncio.run(self._informer(loop))
            except BaseException as problem:  # noqa: BLE001 - told to the main loop, whatever it is
                error = problem
            loop.call_soon_threadsafe(_settle, ended, error)

        threading.Thread(target=thread, name="informer", daemon=True).start()
        await ended

    def stop(self) -> None:
        self._stopping = True
        if self._kopf_loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended by itself
                self._kopf_loop.call_soon_threadsafe(self._stop.set)

    def problem(self) -> str | None:
        """For the liveness probe. A watcher has been seen to die while its process lived on (kopf#1145)."""
        silence = time.monotonic() - self._pulse.at
        if silence > _SILENCE:
            return f"the informer has not answered for {silence:.0f} s"
        # Before all of them have been started there is nothing to miss.
        if self._pulse.watchers < self._pulse.seen:
            return f"{self._pulse.watchers} of {self._pulse.seen} watches are alive"
        return None

    def synced(self) -> str | None:
        """For the readiness probe."""
        if self._pulse.watchers < self._expected:
            return f"{self._pulse.watchers} of {self._expected} watches are running"
        return None

    async def _informer(self, main_loop: asyncio.AbstractEventLoop) -> None:
        self._kopf_loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        if self._stopping:
            return
        beat = asyncio.create_task(self._beat())
        try:
            await kopf.operator(
                registry=self._registry(main_loop),
                settings=_settings(),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
            )
        finally:
            beat.cancel()

    async def _beat(self) -> None:
        """Counts the watchers that live: the tasks of kopf's, by their names."""
        while True:
            alive = sum(task.get_name().startswith("watcher for ") for task in asyncio.all_tasks())
            self._pulse = Pulse(watchers=alive, seen=max(self._pulse.seen, alive))
            await asyncio.sleep(_BEAT if alive >= self._expected else 0.2)

    def _registry(self, main_loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.ConnectionInfo:
            # The credentials are the main loop's, which may be refreshing them just now.
            asked = asyncio.run_coroutine_threadsafe(self._login(), main_loop)
            return connection_info(await asyncio.wrap_future(asked))

        kopf.on.login(registry=registry, id="login", retries=3)(login)
        for kind in (PARENT, *CHILDREN):
            where = resource(kind)

            def changed(event: Mapping[str, Any], _kind: str = kind, **_: Any) -> None:
                self._on_event(_kind)
                key = key_of(_kind, event["object"])
                if key is not None:
                    main_loop.call_soon_threadsafe(self._on_change, key)

            kopf.on.event(**_selector(where), registry=registry, id=f"on-{where.plural}")(_asynchronous(changed))
        return registry


def key_of(kind: str, obj: Mapping[str, Any]) -> Key | None:
    """Whose object this is: by its controller, else by its labels (pods, and claims that were kept)."""
    metadata: Mapping[str, Any] = obj.get("metadata") or {}
    namespace = str(metadata.get("namespace") or "")
    if kind == PARENT:
        return Key(PARENT, namespace, str(metadata["name"]))
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("controller") and owner.get("kind") == PARENT and owner["apiVersion"].startswith(f"{GROUP}/"):
            return Key(PARENT, namespace, str(owner["name"]))
    labels: Mapping[str, str] = metadata.get("labels") or {}
    instance = labels.get("app.kubernetes.io/instance")
    if labels.get("app.kubernetes.io/name") == "voicemodel" and instance:
        return Key(PARENT, namespace, instance)
    return None


def connection_info(connection: Connection) -> kopf.ConnectionInfo:
    """Expires, as a service account's token does: kopf then asks again, and gets the one that is valid by then."""
    scheme, _, token = (connection.authorization or "").strip().partition(" ")
    return kopf.ConnectionInfo(
        server=connection.server,
        ca_path=connection.ca_path,
        insecure=connection.insecure,
        certificate_path=connection.certificate_path,
        private_key_path=connection.private_key_path,
        scheme=scheme.capitalize() if token else None,
        token=token or None,
        expiration=datetime.now(UTC) + _LOGIN_LIFETIME,
    )


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # no rights to list CRDs and namespaces; the CRD is there before the operator
    settings.posting.enabled = False  # the events are our own
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 10.0
    settings.networking.enforce_retry_after = True
    settings.process.ultimate_exiting_timeout = None  # it would kill the process from inside; the kubelet does that
    for kind in CHILDREN:
        where = resource(kind)
        settings.watching.label_selectors[where.group, where.api_version.rpartition("/")[2], where.plural] = MANAGED
    # "OS signals are ignored": they are handled by the main thread.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    return settings


def _selector(where: Resource) -> dict[str, Any]:
    version = VERSION if where.group == GROUP else where.api_version.rpartition("/")[2]
    return {"group": where.group, "version": version, "plural": where.plural}


def _asynchronous(handler: Callable[..., None]) -> Callable[..., Any]:
    """In kopf's own loop: a plain function would go through its thread pool."""

    async def handle(event: Mapping[str, Any], **_: Any) -> None:
        handler(event)

    return handle


def _settle(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
