"""What goes into a plan and what comes out: plain frozen data, so that a plan can be written down and compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

Manifest = dict[str, Any]
"""A Kubernetes object, as the API server returns it or as it is applied."""

Warnings = Mapping[str, tuple[Manifest, ...]]
"""Uid of a pod → the Warning Events about it."""

FIELD_MANAGER = "voxraga-operator"
STATUS_FIELD_MANAGER = "voxraga-operator-status"
HANDOVER_FIELD_MANAGER = "voxraga-operator-handover"

SOON = timedelta(seconds=5)
"""When to look again at an object that is going, in case the event is missed that tells of its end."""
LOOK_AGAIN = timedelta(seconds=30)
"""When to look again for what others have to provide and no event tells of: a Secret, a StorageClass, a node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reads:
    """What has to be read before a VoiceModel can be planned: all of it in the VoiceModel's own namespace,
    but nodes and StorageClasses. Read by name, so that an object of somebody else that bears one of our names is seen.
    """

    name: str
    """Deployment, Service, HorizontalPodAutoscaler and PodDisruptionBudget."""
    claim: str
    """PersistentVolumeClaim of the store."""
    job: str
    """Job that fetches the wanted model (read by name as well as by `jobs_selector`)."""
    jobs_selector: str
    """Label selector of all fetch Jobs of this VoiceModel."""
    pods_selector: str
    """Label selector of all its pods, server and fetch."""
    secrets: tuple[str, ...]
    """Secrets whose existence counts; their contents are never read."""
    source_claim: str | None
    """PersistentVolumeClaim the model is copied from."""
    nodes: bool
    """Whether nodes matter (GPU only)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What stands in the cluster, read live from the API server; None or absent where there is nothing.

    Objects keep their `metadata.managedFields`: who owns `replicas` is read there. `kind` and `apiVersion`, which the
    API server leaves out of the items of a list, may be absent.
    """

    claim: Manifest | None = None
    jobs: tuple[Manifest, ...] = ()
    deployment: Manifest | None = None
    service: Manifest | None = None
    autoscaler: Manifest | None = None
    disruption_budget: Manifest | None = None
    pods: tuple[Manifest, ...] = ()
    nodes: tuple[Manifest, ...] = ()
    storage_classes: tuple[Manifest, ...] = ()
    source_claim_exists: bool = False
    secrets: Mapping[str, bool] = field(default_factory=dict)
    """Name → whether it exists, for each of `Reads.secrets`."""
    api_groups: frozenset[str] = frozenset()
    """API groups the cluster serves, such as `metrics.k8s.io`."""
    warnings: Warnings = field(default_factory=dict)
    """For the pods that their node has not started (`pods.held_up`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """An object to delete: with `preconditions.uid`, so that a namesake made in the meantime lives
    (and `preconditions.resourceVersion` where one is given), and with `propagationPolicy: Background`,
    so that a Job takes its pods along.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str | None = None
    """Set where the object may only be deleted as long as it is as it was read."""
    reason: str
    """Why, for the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A line of the story that `kubectl describe` tells."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be done, in this order: handover, delete, apply, status, events."""

    handover: tuple[Manifest, ...] = ()
    """Applied first, with force, by `HANDOVER_FIELD_MANAGER`: fields that we stop owning but that must keep a value."""
    delete: tuple[Deletion, ...] = ()
    apply: tuple[Manifest, ...] = ()
    """Applied with force by `FIELD_MANAGER`, in this order."""
    status: Manifest | None = None
    """The whole status, for `STATUS_FIELD_MANAGER`; None: leave the status alone (the VoiceModel is being deleted)."""
    events: tuple[Event, ...] = ()
    """Written once the status that they tell of has been written."""
    requeue_after: timedelta | None = None
    """When to look again though nothing happens; None: at the next event or resync."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """The API server's refusal of something that the plan wanted written (4xx other than a conflict)."""

    kind: str
    name: str
    code: int
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether something is so, and why: what a condition says."""

    status: bool
    reason: str
    message: str


def yes(reason: str, message: str) -> Verdict:
    return Verdict(status=True, reason=reason, message=message)


def no(reason: str, message: str) -> Verdict:
    return Verdict(status=False, reason=reason, message=message)
