"""Decides about the server pods' Deployment and what goes with it, and reads from it how the rollout stands."""

from dataclasses import dataclass
from typing import Any

from voxraga_operator.plan import labels, pods
from voxraga_operator.plan.context import Context
from voxraga_operator.plan.objects.autoscaler import autoscaler
from voxraga_operator.plan.objects.deployment import deployment, server_template
from voxraga_operator.plan.objects.disruption_budget import disruption_budget
from voxraga_operator.plan.ownership import Owner, applied, deletion, owner, owns, terminating
from voxraga_operator.plan.types import Deletion, Manifest, Verdict, no


@dataclass(frozen=True, kw_only=True)
class ServerPlan:
    """What becomes of the Deployment, its autoscaler and its disruption budget."""

    apply: tuple[Manifest, ...] = ()
    handover: tuple[Manifest, ...] = ()
    delete: tuple[Deletion, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How the Deployment stands."""

    exists: bool = False
    current: bool = False
    """Whether it is the one that the spec asks for, and the cluster has taken note of it."""
    wanted: int = 0
    replicas: int = 0
    ready: int = 0
    available: int = 0
    finished: bool = False
    """Whether it is current, and no pod but of its present template serves."""
    refused: str = ""
    """Why the cluster makes no pods of it."""
    overdue: bool = False
    """Whether it has made no progress for longer than a start takes."""
    cause: pods.Cause | None = None
    """What is wrong with its pods."""


def server(context: Context, *, stored: bool, one_node: bool, release: bool) -> ServerPlan:
    """A Deployment is made once the model is stored. While another model is fetched its pods stay exactly as they are,
    since other settings may fit the new model only (a default voice); how many there are follows the spec.
    """
    found = context.observed.deployment
    if release:
        return _released(found)
    template = server_template(context.model, context.settings, key=context.key, one_node=one_node) if stored else None
    if template is None and found:
        template = applied(found, "spec", "template")
    if not template or not (template.get("spec") or {}).get("containers"):
        return ServerPlan(delete=_surplus(context))
    handover, replicas = _replicas(context)
    children = [deployment(context.model, template, replicas=replicas), disruption_budget(context.model)]
    if context.model.spec.autoscaling:
        children.append(autoscaler(context.model, context.model.spec.autoscaling))
    return ServerPlan(apply=tuple(children), handover=handover, delete=_surplus(context))


def _released(found: Manifest | None) -> ServerPlan:
    if found is None or terminating(found):
        return ServerPlan()
    return ServerPlan(delete=(deletion(found, "its store is being deleted"),))


def rollout(context: Context, planned: ServerPlan) -> Rollout:
    found = context.observed.deployment
    if found is None:
        return Rollout(wanted=least(context))
    status, spec = found.get("status") or {}, found["spec"]
    current = _is_current(found, planned) and status.get("observedGeneration") == found["metadata"].get("generation")
    replicas, updated = _count(status, "replicas"), _count(status, "updatedReplicas")
    newest = pods.newest_generation(context.server_pods)
    cause = pods.first_cause([pod for pod in newest if not pods.is_ready(pod)], context.observed.warnings)
    return Rollout(
        exists=True,
        current=current,
        wanted=int(spec.get("replicas", 1)),
        replicas=replicas,
        ready=_count(status, "readyReplicas"),
        available=_count(status, "availableReplicas"),
        finished=current and updated == replicas,
        refused=_message(status, "ReplicaFailure", "True"),
        overdue=bool(_message(status, "Progressing", "False")),
        cause=cause,
    )


def least(context: Context) -> int:
    """How many pods there have to be: beyond that, an autoscaler may be waiting for some that are starting."""
    autoscaling = context.model.spec.autoscaling
    return autoscaling.min_replicas if autoscaling else context.model.spec.replicas


def autoscaling_verdict(context: Context) -> Verdict | None:
    """What the autoscaler says of itself; None where there is none to be."""
    wanted = context.model.spec.autoscaling
    if wanted is None:
        return None
    found = context.observed.autoscaler
    if found is None:
        return no("NotCreated", "the HorizontalPodAutoscaler is made together with the Deployment")
    conditions = {each.get("type"): each for each in (found.get("status") or {}).get("conditions") or []}
    for kind in ("AbleToScale", "ScalingActive"):
        condition = conditions.get(kind)
        if condition is None:
            return no("Starting", "the HorizontalPodAutoscaler has not looked at the pods yet")
        if condition.get("status") != "True":
            return _inactive(context, condition)
    bounds = f"{wanted.min_replicas} to {wanted.max_replicas}"
    return Verdict(status=True, reason="Active", message=f"the HorizontalPodAutoscaler keeps {bounds} pods")


def api_keys(context: Context) -> Verdict | None:
    """What keeps pods from starting though nothing is wrong with them: a volume that can't be mounted shows in no pod's
    status, only in events. None where the Secret is there, or may not be asked for.
    """
    keys = context.model.spec.access.api_keys
    if keys is None or context.observed.secrets.get(keys.secret_name, False):
        return None
    message = (
        f"spec.access.apiKeys.secretName names Secret {keys.secret_name}, which does not exist: make it, or name"
        " another; until then no server pod starts"
    )
    return no("SecretNotFound", message)


def _inactive(context: Context, condition: dict[str, Any]) -> Verdict:
    if "metrics.k8s.io" not in context.observed.api_groups:
        return no("MetricsUnavailable", "the cluster has no metrics.k8s.io: install metrics-server")
    reason = str(condition.get("reason") or "Inactive")
    return no(reason, pods.short(str(condition.get("message") or "the HorizontalPodAutoscaler is not active")))


def _replicas(context: Context) -> tuple[tuple[Manifest, ...], int | None]:
    """The count to apply, and what to hand over first. A field that we stop applying falls back to its default of 1,
    unless somebody else owns it: so the live count is handed over before an autoscaler gets it.
    """
    autoscaling, found = context.model.spec.autoscaling, context.observed.deployment
    if autoscaling is None:
        return (), context.model.spec.replicas
    if found is None:
        return (), autoscaling.min_replicas
    live = int(found["spec"].get("replicas", 1))
    if live and not owns(found, "spec", "replicas"):
        return (), None
    # An autoscaler leaves alone what has been scaled to 0.
    metadata = {"name": context.model.metadata.name, "namespace": context.model.metadata.namespace}
    spec = {"replicas": live or autoscaling.min_replicas}
    return ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},), None


def _surplus(context: Context) -> tuple[Deletion, ...]:
    """An autoscaler of ours that is no longer wanted."""
    found = context.observed.autoscaler
    if found is None or context.model.spec.autoscaling or owner(found, context.model) is not Owner.US:
        return ()
    return (deletion(found, "spec.autoscaling was removed"),)


def _is_current(found: Manifest, planned: ServerPlan) -> bool:
    """Whether the live Deployment was applied from what is planned now, its digest says so."""
    wanted = next((each for each in planned.apply if each["kind"] == "Deployment"), None)
    return wanted is not None and _digest(found) == _digest(wanted)


def _digest(found: Manifest) -> str | None:
    value: str | None = (found["metadata"].get("annotations") or {}).get(labels.TEMPLATE)
    return value


def _count(status: dict[str, Any], name: str) -> int:
    return int(status.get(name) or 0)


def _message(status: dict[str, Any], kind: str, wanted: str) -> str:
    for condition in status.get("conditions") or []:
        if condition.get("type") == kind and condition.get("status") == wanted:
            return str(condition.get("message") or condition.get("reason") or kind)
    return ""
