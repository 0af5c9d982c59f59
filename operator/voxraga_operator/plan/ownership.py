"""Whose an object is, and which of its fields are ours."""

import json
from collections.abc import Iterator
from enum import Enum
from typing import Any

from voxraga_operator.api.voicemodel import KIND, VoiceModel
from voxraga_operator.plan import labels
from voxraga_operator.plan.types import FIELD_MANAGER, Deletion, Manifest


class Owner(Enum):
    """Whose an object with one of our names is."""

    US = "us"
    EARLIER = "earlier"
    """A child of an earlier VoiceModel of the same name: garbage collection is about to take it away."""
    OTHER = "other"


def owner(found: Manifest, model: VoiceModel) -> Owner:
    """An object without a controller is ours by its labels, or where they were taken off, by having been applied by us:
    so a retained store is found again, and so is what was orphaned on purpose.
    """
    controller = next((ref for ref in _metadata(found).get("ownerReferences", []) if ref.get("controller")), None)
    if controller is None:
        return Owner.US if _labelled(found, model) or any(_applied(found)) else Owner.OTHER
    if controller.get("uid") == model.metadata.uid:
        return Owner.US
    ours = controller.get("kind") == KIND and controller.get("name") == model.metadata.name
    return Owner.EARLIER if ours else Owner.OTHER


def owns(found: Manifest, *path: str) -> bool:
    """Whether a field of a live object is ours by server-side apply."""
    return any(_at(fields, path) is not None for fields in _applied(found))


def applied(found: Manifest, *path: str) -> Any:
    """What we last applied of a live object below a path, as far as it is still ours; None where nothing is."""
    value: Any = found
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    owned = [below for fields in _applied(found) if (below := _at(fields, path)) is not None]
    return _extract(value, owned[0]) if owned and value is not None else None


def deletion(found: Manifest, reason: str, *, exact: bool = False) -> Deletion:
    """Delete this very object; `exact`: only as long as it is as it was read."""
    metadata = _metadata(found)
    return Deletion(
        api_version=found["apiVersion"],
        kind=found["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata.get("resourceVersion") if exact else None,
        reason=reason,
    )


def terminating(found: Manifest | None) -> bool:
    return found is not None and "deletionTimestamp" in _metadata(found)


def _metadata(found: Manifest) -> dict[str, Any]:
    metadata: dict[str, Any] = found.get("metadata") or {}
    return metadata


def _labelled(found: Manifest, model: VoiceModel) -> bool:
    given = _metadata(found).get("labels") or {}
    return given.get(labels.MANAGED_BY) == labels.MANAGER and given.get(labels.INSTANCE) == model.metadata.name


def _applied(found: Manifest) -> Iterator[dict[str, Any]]:
    """Our entries of managedFields."""
    for entry in _metadata(found).get("managedFields") or []:
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply":
            yield entry.get("fieldsV1") or {}


def _at(fields: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    below: dict[str, Any] | None = fields
    for name in path:
        below = below.get(f"f:{name}") if below is not None else None
    return below


def _extract(value: Any, fields: dict[str, Any]) -> Any:
    """The part of a value that `fieldsV1` names; an entry without further ones stands for all below it."""
    if not fields:
        return value
    if isinstance(value, dict):
        return {name: _extract(below, fields[f"f:{name}"]) for name, below in value.items() if f"f:{name}" in fields}
    if isinstance(value, list):
        return [kept for item in value for kept in _extract_item(item, fields)]
    return value


def _extract_item(item: Any, fields: dict[str, Any]) -> Iterator[Any]:
    for entry, below in fields.items():
        kind, _, text = entry.partition(":")
        if kind == "v" and json.loads(text) == item:
            yield item
        elif kind == "k" and isinstance(item, dict):
            keys = json.loads(text)
            if all(item.get(name) == value for name, value in keys.items()):
                yield keys | _extract(item, below or {".": {}})
