"""What every step of planning looks at: the VoiceModel, what was observed, and what follows from them at once."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import labels, names
from voxraga_operator.plan.types import Manifest, Observed
from voxraga_operator.settings import OperatorSettings

_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class Context:
    """The input of planning."""

    model: VoiceModel
    observed: Observed
    settings: OperatorSettings
    now: datetime

    @cached_property
    def key(self) -> str:
        """Key of the wanted model."""
        return names.store_key(self.model.spec)

    @cached_property
    def claim_name(self) -> str:
        return names.claim_name(self.model)

    @cached_property
    def job(self) -> Manifest | None:
        """The Job that fetches the wanted model."""
        wanted = names.job_name(self.model, self.key)
        return next((job for job in self.observed.jobs if job["metadata"]["name"] == wanted), None)

    @cached_property
    def server_pods(self) -> tuple[Manifest, ...]:
        """Pods that serve or are to serve; those that are over or going don't count."""
        return tuple(pod for pod in self._pods("server") if alive(pod) and "deletionTimestamp" not in pod["metadata"])

    @cached_property
    def fetch_pods(self) -> tuple[Manifest, ...]:
        """All pods of all fetch Jobs, oldest first."""
        return tuple(sorted(self._pods("fetch"), key=age))

    @cached_property
    def served_keys(self) -> frozenset[str]:
        """Keys that pods serve, or will serve when they start anew."""
        templates = [pod["metadata"] for pod in self._pods("server") if alive(pod)]
        if self.observed.deployment:
            templates.append(self.observed.deployment["spec"]["template"].get("metadata") or {})
        keys = {(template.get("labels") or {}).get(labels.KEY) for template in templates}
        return frozenset(key for key in keys if key)

    def _pods(self, component: str) -> list[Manifest]:
        return [pod for pod in self.observed.pods if label(pod, labels.COMPONENT) == component]


def complete(observed: Observed) -> Observed:
    """With the kinds that the API server leaves out of the items of a list."""
    return replace(
        observed,
        claim=_typed(observed.claim, "v1", "PersistentVolumeClaim"),
        jobs=tuple(job for each in observed.jobs if (job := _typed(each, "batch/v1", "Job"))),
        deployment=_typed(observed.deployment, "apps/v1", "Deployment"),
        service=_typed(observed.service, "v1", "Service"),
        autoscaler=_typed(observed.autoscaler, "autoscaling/v2", "HorizontalPodAutoscaler"),
        disruption_budget=_typed(observed.disruption_budget, "policy/v1", "PodDisruptionBudget"),
    )


def _typed(found: Manifest | None, api_version: str, kind: str) -> Manifest | None:
    return None if found is None else {**found, "apiVersion": api_version, "kind": kind}


def alive(pod: Manifest) -> bool:
    return (pod.get("status") or {}).get("phase") not in _OVER


def age(pod: Manifest) -> tuple[str, str]:
    """Sorts pods from the oldest to the newest."""
    return pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]


def label(found: Manifest, name: str) -> str | None:
    value: str | None = (found["metadata"].get("labels") or {}).get(name)
    return value
