"""What to say where nothing can be planned, or the API server refuses what was planned."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan.events import events
from voxraga_operator.plan.pods import short
from voxraga_operator.plan.status import write_conditions
from voxraga_operator.plan.types import LOOK_AGAIN, Manifest, Plan, Refusal, Verdict, no, yes


def refused(model: VoiceModel, planned: Plan, refusals: list[Refusal], now: datetime) -> Plan:
    """The plan's status and events, corrected by what could not be written. Only 4xx that will not pass by
    themselves are refusals (400, 403, 413, 422); a conflict, a timeout or a 5xx is tried again by the queue.
    """
    if planned.status is None or not refusals:
        return planned
    told = "; ".join(f"{each.kind} {each.name}: {each.message}" for each in sorted(refusals, key=_place))
    verdicts = _stalled("ApplyRefused", short(f"the API server refuses {told}"))
    status = planned.status | {"phase": "Degraded" if planned.status.get("readyReplicas") else "Failed"}
    status["conditions"] = _with(model.status, planned.status, verdicts, model.metadata.generation, now)
    return replace(planned, status=status, events=events(model.status, status), requeue_after=LOOK_AGAIN)


def invalid(raw: Manifest, error: ValidationError, now: datetime) -> Plan:
    """For a VoiceModel that can't be read, such as one stored under an older schema: children are left alone."""
    wrong = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
    before: dict[str, Any] = raw.get("status") or {}
    generation = int((raw.get("metadata") or {}).get("generation", 0))
    status = {key: value for key, value in before.items() if key != "conditions"}
    status |= {"observedGeneration": generation, "phase": "Failed"}
    status["conditions"] = _with(before, before, _stalled("SpecInvalid", short(wrong)), generation, now)
    return Plan(status=status, events=events(before, status))


def _place(refusal: Refusal) -> tuple[str, str]:
    return refusal.kind, refusal.name


def _stalled(reason: str, message: str) -> dict[str, Verdict]:
    return {
        "Ready": no(reason, message),
        "Reconciling": no("Stalled", "nothing goes on until somebody acts"),
        "Stalled": yes(reason, message),
    }


def _with(
    before: Manifest, planned: Manifest, verdicts: dict[str, Verdict], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The planned conditions with those of the verdicts in their places."""
    written = {each["type"]: each for each in write_conditions(before, verdicts, generation, now)}
    kept = {each["type"]: each for each in planned.get("conditions") or []}
    return list((written | (kept | written)).values())
