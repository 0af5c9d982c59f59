"""Kubernetes Events of our objects: a story in `kubectl describe`, not a flood.

core/v1, as `kubectl describe` of any version shows their count and age. An event's name is made from what it says, so
that the same thing said again is the same object: within the quiet time nothing is written at all, afterwards its count
goes up.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from voxraga_operator.cluster.client import Cluster, Object
from voxraga_operator.cluster.errors import ApiError

log = structlog.get_logger(__name__)

COMPONENT = "voxraga-operator"
_GREATEST_MESSAGE = 1024  # the API server refuses more
_REMEMBERED = 4096


class Recorder:
    def __init__(
        self,
        cluster: Cluster,
        *,
        instance: str,
        quiet: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._instance = instance
        self._quiet = quiet
        self._clock = clock
        self._said: OrderedDict[str, float] = OrderedDict()

    async def record(self, about: Mapping[str, Any], kind: str, reason: str, message: str) -> None:
        """Says it once. An event that cannot be written is logged: no reconcile fails for its story."""
        event = _event(about, kind, reason, message, self._instance)
        name = event["metadata"]["name"]
        last = self._said.get(name)
        if last is not None and self._clock() - last < self._quiet:
            return
        try:
            await self._write(event)
        except ApiError as error:
            log.warning("event not written", reason=reason, error=str(error))
            return
        self._said[name] = self._clock()
        self._said.move_to_end(name)
        while len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)

    async def _write(self, event: Object) -> None:
        try:
            await self._cluster.create(event)
        except ApiError as error:
            if not error.already_exists:
                raise
            await self._repeat(event)

    async def _repeat(self, event: Object) -> None:
        metadata = event["metadata"]
        live = await self._cluster.get("Event", metadata["namespace"], metadata["name"])
        if live is None:  # it expired between the two calls
            return
        again = {"count": int(live.get("count") or 1) + 1, "lastTimestamp": event["lastTimestamp"]}
        await self._cluster.merge("Event", metadata["namespace"], metadata["name"], again)


def _event(about: Mapping[str, Any], kind: str, reason: str, message: str, instance: str) -> Object:
    metadata = about["metadata"]
    message = message if len(message) <= _GREATEST_MESSAGE else message[: _GREATEST_MESSAGE - 1] + "…"
    said = "\0".join((metadata["uid"], kind, reason, message))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.{hashlib.sha256(said.encode()).hexdigest()[:16]}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
    }
