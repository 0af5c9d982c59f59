"""The story that `kubectl describe` tells: what changed from one status to the next."""

from collections.abc import Callable

from voxraga_operator.api.status import condition_of
from voxraga_operator.plan.canonical import human_bytes
from voxraga_operator.plan.pods import short
from voxraga_operator.plan.types import Event, Manifest

_QUIET = frozenset({"CreatingClaim", "ReplacingClaim", "WaitingForFetch", "WaitingForCleanup", "NotCreated"})
"""Reasons that tell nobody anything: steps of a moment."""

_NORMAL = frozenset({"Fetching", "Starting", "RollingOut", "ScaledToZero", "AddressPending", "ClaimTerminating"})
"""Reasons for something not being so (yet) that are in the nature of things."""


def events(before: Manifest, after: Manifest) -> tuple[Event, ...]:
    """In the order in which things happen; each thing told once, though several conditions may speak of it."""
    told = [event for teller in _TELLERS for event in teller(before, after)]
    seen: set[str] = set()
    result = []
    for event in told:
        if event.reason not in seen:
            seen.add(event.reason)
            result.append(event)
    return tuple(result)


def _store(before: Manifest, after: Manifest) -> list[Event]:
    claim = (after.get("store") or {}).get("claim")
    known = (before.get("store") or {}).get("claim")
    created = condition_of(after, "ModelStored") or {}
    if claim == known or created.get("reason") != "CreatingClaim":
        return []
    return [Event(type="Normal", reason="StoreCreated", message=f"claim {claim} is made for the model's files")]


def _model(before: Manifest, after: Manifest) -> list[Event]:
    changed = _changed(before, after, "ModelStored")
    if changed is None:
        return []
    if changed["status"] != "True":
        return [_trouble(changed)] if changed["reason"] not in _QUIET else []
    model = after.get("model") or {}
    size = f"downloaded {human_bytes(model['bytes'])}" if "bytes" in model else "downloaded"
    digest = f", {model['digest']}" if "digest" in model else ""
    return [Event(type="Normal", reason="ModelStored", message=f"{model.get('name', 'the model')}: {size}{digest}")]


def _accelerator(before: Manifest, after: Manifest) -> list[Event]:
    changed = _changed(before, after, "AcceleratorReady")
    if changed is None or (changed["status"] == "True" and not before):
        return []
    return [_trouble(changed)] if changed["status"] != "True" else []


def _ready(before: Manifest, after: Manifest) -> list[Event]:
    changed = _changed(before, after, "Ready")
    if changed is None or changed["reason"] in _QUIET:
        return []
    if changed["status"] == "True":
        return [Event(type="Normal", reason="Ready", message=changed["message"])]
    return [_trouble(changed)]


def _degraded(before: Manifest, after: Manifest) -> list[Event]:
    changed = _changed(before, after, "Degraded")
    return [_warning(changed)] if changed and changed["status"] == "True" else []


def _autoscaling(before: Manifest, after: Manifest) -> list[Event]:
    changed = _changed(before, after, "AutoscalingActive")
    if changed is None or changed["reason"] in _QUIET or changed["reason"] == "Starting":
        return []
    if changed["status"] != "True":
        return [_warning(changed)]
    return [Event(type="Normal", reason="AutoscalingActive", message=changed["message"])]


_TELLERS: tuple[Callable[[Manifest, Manifest], list[Event]], ...] = (
    _store,
    _accelerator,
    _model,
    _ready,
    _degraded,
    _autoscaling,
)


def _changed(before: Manifest, after: Manifest, kind: str) -> Manifest | None:
    """The condition, where its status or its reason is another than before; a message alone is no news."""
    old, new = condition_of(before, kind), condition_of(after, kind)
    if new is None or (old and (old.get("status"), old.get("reason")) == (new["status"], new["reason"])):
        return None
    return new


def _trouble(condition: Manifest) -> Event:
    if condition["reason"] in _NORMAL:
        return Event(type="Normal", reason=condition["reason"], message=short(condition["message"]))
    return _warning(condition)


def _warning(condition: Manifest) -> Event:
    return Event(type="Warning", reason=condition["reason"], message=short(condition["message"]))
