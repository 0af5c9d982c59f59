"""What status says where a plan could not be made or not be carried out: pure, status in and status out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from voxraga_operator.plan.types import Refusal

Status = dict[str, Any]

_SHOWN = 5
_GREATEST_MESSAGE = 4000


def invalid_spec(status: Status, error: ValidationError, generation: int, now: datetime) -> Status:
    """The CRD let pass what this operator does not understand: one of them is newer than the other."""
    found = error.errors(include_url=False, include_input=False)
    problems = [f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in found[:_SHOWN]]
    if len(found) > _SHOWN:
        problems.append(f"and {len(found) - _SHOWN} more")
    message = (
        "; ".join(problems) + ". The CRD and the operator may be of different versions: apply the CRDs of the"
        " operator's version, or correct the field."
    )
    conditions = [
        ("Ready", "False", "InvalidSpec", message),
        ("Reconciling", "False", "InvalidSpec", message),
        ("Stalled", "True", "InvalidSpec", message),
    ]
    return _with({**status, "observedGeneration": generation, "phase": "Failed"}, conditions, generation, now)


def refused(status: Status, refusals: Sequence[Refusal], generation: int, now: datetime) -> Status:
    """The API server said no to a child. What serves already goes on serving, so Ready is left as it was planned."""
    message = "; ".join(f"{refusal.kind} {refusal.name}: {refusal.message}" for refusal in refusals)
    reason = "Forbidden" if all(refusal.code == 403 for refusal in refusals) else "Refused"  # noqa: PLR2004
    return _with(status, [("Stalled", "True", reason, message)], generation, now)


def _with(status: Status, conditions: Iterable[tuple[str, str, str, str]], generation: int, now: datetime) -> Status:
    known: dict[str, Mapping[str, Any]] = {known["type"]: known for known in status.get("conditions") or []}
    for kind, value, reason, message in conditions:
        earlier = known.get(kind, {})
        since = earlier.get("lastTransitionTime") if earlier.get("status") == value else None
        known[kind] = {
            "type": kind,
            "status": value,
            "reason": reason,
            "message": message[:_GREATEST_MESSAGE],
            "observedGeneration": generation,
            "lastTransitionTime": since or now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    return {**status, "conditions": list(known.values())}
