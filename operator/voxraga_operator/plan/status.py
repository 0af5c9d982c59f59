"""Writes down what was found out: the status of a VoiceModel."""

from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from voxraga_operator.api.status import ModelStatus, condition_of
from voxraga_operator.plan import labels, names
from voxraga_operator.plan.canonical import compact
from voxraga_operator.plan.conditions import FETCHING, WAITING, Facts, conditions, phase
from voxraga_operator.plan.context import Context
from voxraga_operator.plan.types import Manifest, Verdict


def status(facts: Facts, report: dict[str, Any] | None, claim_uid: str | None) -> Manifest:
    """The whole status. Nothing in it changes unless something else did: no times, no counters of attempts."""
    context, rollout = facts.context, facts.rollout
    said = conditions(facts)
    result = {
        "observedGeneration": context.model.metadata.generation,
        "phase": phase(facts, said),
        "url": facts.url,
        "replicas": rollout.replicas,
        "readyReplicas": rollout.ready,
        "ready": f"{rollout.ready}/{rollout.wanted}",
        "selector": labels.selector(labels.selector_labels(context.model, "server")),
        "model": _model(facts, report),
        "store": _store(facts, claim_uid),
        "device": {"active": context.model.spec.device.type, "reason": facts.accelerator.message},
        "autoscaling": _autoscaling(context),
        "conditions": write_conditions(context.model.status, said, context.model.metadata.generation, context.now),
    }
    return compact(result)


def write_conditions(
    previous: Manifest, said: dict[str, Verdict], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """lastTransitionTime stays as long as the status does."""
    return [_condition(condition_of(previous, kind), kind, verdict, generation, now) for kind, verdict in said.items()]


def _condition(
    previous: dict[str, Any] | None, kind: str, verdict: Verdict, generation: int, now: datetime
) -> dict[str, Any]:
    state = "True" if verdict.status else "False"
    same = previous is not None and previous.get("status") == state and previous.get("lastTransitionTime")
    return {
        "type": kind,
        "status": state,
        "reason": verdict.reason,
        "message": verdict.message,
        "observedGeneration": generation,
        "lastTransitionTime": same or now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _model(facts: Facts, report: dict[str, Any] | None) -> dict[str, Any]:
    """What the fetch said of the model; or what it said before, as long as nothing newer is stored."""
    known: dict[str, Any] = facts.context.model.status.get("model") or {}
    known_key = (facts.context.model.status.get("store") or {}).get("key")
    if report:
        return {"name": facts.context.model.spec.source.label} | published(report)
    if known_key and (known_key == facts.context.key or not facts.stored.status):
        return known
    return {"name": facts.context.model.spec.source.label}


def published(report: dict[str, Any]) -> dict[str, Any]:
    """status.model of a fetch's report; what does not fit the schema is left out, so that it can't spoil the rest."""
    described = report.get("model")
    found = {**(described if isinstance(described, dict) else {})}
    found |= {name: report[name] for name in ("digest", "bytes", "revision", "voicesTruncated") if name in report}
    try:
        return ModelStatus.model_validate(found).to_json()
    except ValidationError as error:
        wrong = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
        return ModelStatus.model_validate({key: value for key, value in found.items() if key not in wrong}).to_json()


def _store(facts: Facts, claim_uid: str | None) -> dict[str, Any]:
    """key and path are those of the model that status.model tells about: the wanted one's once it is stored."""
    context = facts.context
    known: dict[str, Any] = context.model.status.get("store") or {}
    key, uid = (context.key, claim_uid) if facts.stored.status else (known.get("key"), known.get("claimUID"))
    return compact(
        {
            "phase": _store_phase(facts),
            "claim": context.claim_name,
            "claimUID": uid,
            "key": key,
            "path": names.model_path(key) if key else None,
        }
    )


def _store_phase(facts: Facts) -> str:
    if facts.stored.status:
        return "Stored"
    if facts.stored.reason in FETCHING:
        return "Fetching"
    return "Pending" if facts.stored.reason in WAITING else "Failed"


def _autoscaling(context: Context) -> dict[str, str]:
    wanted = context.model.spec.autoscaling
    if wanted is None:
        return {"mode": "Fixed", "reason": "spec.replicas says how many pods there are"}
    bounds = f"{wanted.min_replicas} to {wanted.max_replicas} pods"
    return {"mode": "HorizontalPodAutoscaler", "reason": f"spec.autoscaling is set: {bounds}, spec.replicas unused"}
