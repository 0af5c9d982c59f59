"""Reads what a VoiceModel's plan has to know, live from the API server: never from a cache or an event's body."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from voxraga_operator.cluster import ApiError, Cluster
from voxraga_operator.plan.pods import held_up
from voxraga_operator.plan.types import Manifest, Observed, Reads, Warnings

_GROUPS_LIFETIME = 60.0


@dataclass
class Capabilities:
    """Which API groups the cluster has: asked once a minute, as it changes with what is installed in the cluster."""

    cluster: Cluster
    _groups: frozenset[str] = frozenset()
    _until: float = field(default=0.0)

    async def groups(self) -> frozenset[str]:
        if time.monotonic() >= self._until:
            self._groups = await self.cluster.api_groups()
            self._until = time.monotonic() + _GROUPS_LIFETIME
        return self._groups


async def observe(cluster: Cluster, capabilities: Capabilities, namespace: str, reads: Reads) -> Observed:
    """Children are read by name, so that a stranger under such a name is seen; Jobs and pods by their labels too."""
    try:
        return await _observe(cluster, capabilities, namespace, reads)
    except ExceptionGroup as group:  # the reads fail together; the first says why, and when to come back
        raise group.exceptions[0] from None


async def _observe(cluster: Cluster, capabilities: Capabilities, namespace: str, reads: Reads) -> Observed:
    async with asyncio.TaskGroup() as group:
        claim = group.create_task(cluster.get("PersistentVolumeClaim", namespace, reads.claim))
        job = group.create_task(cluster.get("Job", namespace, reads.job))
        jobs = group.create_task(cluster.list("Job", namespace, labels=reads.jobs_selector))
        deployment = group.create_task(cluster.get("Deployment", namespace, reads.name))
        service = group.create_task(cluster.get("Service", namespace, reads.name))
        autoscaler = group.create_task(cluster.get("HorizontalPodAutoscaler", namespace, reads.name))
        budget = group.create_task(cluster.get("PodDisruptionBudget", namespace, reads.name))
        pods = group.create_task(cluster.list("Pod", namespace, labels=reads.pods_selector))
        nodes = group.create_task(cluster.list("Node") if reads.nodes else _nothing())
        classes = group.create_task(cluster.list("StorageClass"))
        secrets = {name: group.create_task(_secret_exists(cluster, namespace, name)) for name in reads.secrets}
        source = group.create_task(_exists(cluster, namespace, reads.source_claim))
        groups = group.create_task(capabilities.groups())
    warnings = await _warnings(cluster, namespace, pods.result())
    return Observed(
        claim=claim.result(),
        jobs=_unique((job.result(), *jobs.result())),
        deployment=deployment.result(),
        service=service.result(),
        autoscaler=autoscaler.result(),
        disruption_budget=budget.result(),
        pods=tuple(pods.result()),
        nodes=tuple(nodes.result()),
        storage_classes=tuple(classes.result()),
        source_claim_exists=source.result(),
        secrets={name: task.result() for name, task in secrets.items()},
        api_groups=groups.result(),
        warnings=warnings,
    )


async def _warnings(cluster: Cluster, namespace: str, pods: list[Manifest]) -> Warnings:
    """Asked for the pods that hang only: of all others their status says more."""
    found: dict[str, tuple[Manifest, ...]] = {}
    for uid in (str(pod["metadata"]["uid"]) for pod in pods if held_up(pod)):
        found[uid] = tuple(await cluster.list("Event", namespace, fields=f"involvedObject.uid={uid},type=Warning"))
    return found


async def _exists(cluster: Cluster, namespace: str, claim: str | None) -> bool:
    return claim is not None and await cluster.metadata("PersistentVolumeClaim", namespace, claim) is not None


async def _secret_exists(cluster: Cluster, namespace: str, name: str) -> bool:
    """Where we may not look, it is taken to be there: if it is not, the pod that mounts it says so."""
    try:
        return await cluster.metadata("Secret", namespace, name) is not None
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return True
        raise


async def _nothing() -> list[dict[str, Any]]:
    return []


def _unique(objects: Iterable[Manifest | None]) -> tuple[Manifest, ...]:
    return tuple({obj["metadata"]["uid"]: obj for obj in objects if obj is not None}.values())
