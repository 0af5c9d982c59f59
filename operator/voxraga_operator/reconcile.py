"""Observe, plan, apply, status: one pass over one object, the same whatever event led to it.

The order of writes is the plan's, and each may be the last one this process makes: whatever a pass leaves undone, the
next one finds, since nothing is decided from memory.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from pydantic import ValidationError

from voxraga_operator import drift, repair
from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.cluster import ApiError
from voxraga_operator.plan import refusal as corrections
from voxraga_operator.plan import voicemodel as planner
from voxraga_operator.plan.types import (
    FIELD_MANAGER,
    HANDOVER_FIELD_MANAGER,
    STATUS_FIELD_MANAGER,
    Deletion,
    Manifest,
    Observed,
    Plan,
    Reads,
    Refusal,
)
from voxraga_operator.queue import Key
from voxraga_operator.settings import OperatorSettings

log = structlog.get_logger(__name__)


class Writer(Protocol):
    """What a reconcile needs of the cluster, besides observing."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None: ...
    async def apply(self, obj: Mapping[str, Any], *, manager: str = ..., subresource: str = "") -> Manifest: ...
    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str, resource_version: str | None = ...
    ) -> bool: ...
    async def json_patch(
        self, kind: str, namespace: str, name: str, patch: Sequence[Mapping[str, Any]], *, manager: str = ...
    ) -> Manifest: ...


class Observer(Protocol):
    async def __call__(self, namespace: str, reads: Reads) -> Observed: ...


class Recorder(Protocol):
    async def record(self, about: Mapping[str, Any], kind: str, reason: str, message: str) -> None: ...


class RefusedError(Exception):
    """The API server refused a child; status tells of it. Raised so that the queue comes back, ever more slowly."""


class Reconciler:
    def __init__(
        self,
        cluster: Writer,
        observe: Observer,
        recorder: Recorder,
        settings: OperatorSettings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._observe = observe
        self._recorder = recorder
        self._settings = settings
        self._now = now

    async def __call__(self, key: Key) -> float | None:
        """Returns in how many seconds to look again, if nothing happens before."""
        parent = await self._cluster.get(key.kind, key.namespace, key.name)
        if parent is None or parent["metadata"].get("deletionTimestamp"):
            return None  # its children go by their ownerReferences
        try:
            model = VoiceModel.model_validate(parent)
        except ValidationError as error:
            await self._tell(parent, corrections.invalid(parent, error, self._now()))
            return None  # a corrected spec is an event
        observed = await self._observe(key.namespace, planner.reads(model))
        plan = planner.plan(model, observed, self._settings, self._now())
        refusals = await self._carry_out(plan, observed)
        await self._tell(parent, corrections.refused(model, plan, refusals, self._now()))
        if refusals:
            raise RefusedError("; ".join(f"{refusal.kind} {refusal.name}: {refusal.message}" for refusal in refusals))
        return plan.requeue_after.total_seconds() if plan.requeue_after is not None else None

    async def _carry_out(self, plan: Plan, observed: Observed) -> list[Refusal]:
        """A refusal of one child does not keep the others from being written."""
        refusals: list[Refusal] = []
        for manifest in plan.handover:
            await self._apply(manifest, observed, HANDOVER_FIELD_MANAGER, refusals)
        for deletion in plan.delete:
            await self._delete(deletion, refusals)
        for manifest in plan.apply:
            await self._apply(manifest, observed, FIELD_MANAGER, refusals)
        return refusals

    async def _delete(self, deletion: Deletion, refusals: list[Refusal]) -> None:
        log.info("deleting", kind=deletion.kind, name=deletion.name, why=deletion.reason)
        try:
            await self._cluster.delete(
                deletion.kind,
                deletion.namespace,
                deletion.name,
                uid=deletion.uid,
                resource_version=deletion.resource_version,
            )
        except ApiError as error:
            _refusal(error, deletion.kind, deletion.name, refusals)

    async def _apply(self, manifest: Manifest, observed: Observed, manager: str, refusals: list[Refusal]) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        live = _live(observed, kind, name)
        why = list(drift.reasons(live, manifest, manager))
        if not why:
            return
        log.info("applying", kind=kind, name=name, why=why[:10])
        wanted = drift.prune(manifest)
        try:
            await self._cluster.apply(wanted, manager=manager)
        except ApiError as error:
            if live is not None and repair.possible(error.status, live, wanted):
                await self._repair(live, wanted, manager, refusals)
            else:
                _refusal(error, kind, name, refusals)

    async def _repair(self, live: Manifest, wanted: Manifest, manager: str, refusals: list[Refusal]) -> None:
        kind, namespace, name = live["kind"], live["metadata"]["namespace"], live["metadata"]["name"]
        log.warning("repairing", kind=kind, name=name)
        try:
            patch = repair.replacement(live, wanted)
            await self._cluster.json_patch(kind, namespace, name, patch, manager=repair.MANAGER)
            repaired = await self._cluster.apply(wanted, manager=manager)
            if patch := repair.forget(repaired):
                await self._cluster.json_patch(kind, namespace, name, patch)
        except ApiError as error:
            _refusal(error, kind, name, refusals)

    async def _tell(self, parent: Manifest, plan: Plan) -> None:
        if plan.status is not None:
            await self._write_status(parent, plan.status)
        for event in plan.events:
            await self._recorder.record(parent, event.type, event.reason, event.message)

    async def _write_status(self, parent: Manifest, status: Manifest) -> None:
        if not drift.needs_apply(parent, {"status": status}, STATUS_FIELD_MANAGER, "status"):
            return
        metadata = parent["metadata"]
        # With the uid: a namesake that was made meanwhile is not told of its predecessor.
        about = {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
        manifest = {"apiVersion": parent["apiVersion"], "kind": parent["kind"], "metadata": about, "status": status}
        try:
            await self._cluster.apply(drift.prune(manifest), manager=STATUS_FIELD_MANAGER, subresource="status")
        except ApiError as error:
            if not error.not_found:  # deleted since it was read: there is nobody to tell
                raise


def _refusal(error: ApiError, kind: str, name: str, refusals: list[Refusal]) -> None:
    """What the server will refuse again becomes status; all else (unreachable, conflict, overload) is tried again."""
    if not error.refused:
        raise error
    log.warning("refused", kind=kind, name=name, code=error.status, error=error.message)
    refusals.append(Refusal(kind=kind, name=name, code=error.status, message=error.message))


def _live(observed: Observed, kind: str, name: str) -> Manifest | None:
    candidates: tuple[Manifest | None, ...] = {
        "PersistentVolumeClaim": (observed.claim,),
        "Job": observed.jobs,
        "Deployment": (observed.deployment,),
        "Service": (observed.service,),
        "HorizontalPodAutoscaler": (observed.autoscaler,),
        "PodDisruptionBudget": (observed.disruption_budget,),
    }[kind]
    return next((found for found in candidates if found is not None and found["metadata"]["name"] == name), None)
