"""Tells, without asking the API server, whether applying an object would change anything.

An apply that changes nothing still costs a write, shows in the audit log and can bump the resourceVersion, so the
reconcile sends one only where this module finds a reason:

- a desired value is absent from the live object or differs from it;
- our field manager does not own a desired field (another one took it over: a later removal of ours would do nothing);
- our field manager owns a field that is no longer desired (a stale key, which the next apply removes).

What others added beside our fields is none of our business and is no drift.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from voxraga_operator import quantity

Object = Mapping[str, Any]
Path = tuple[str, ...]

# Lists that the API server merges by key. All others are atomic: they are compared by position and length.
_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
# `ports` has two schemas: a container's entries have containerPort, a Service's have port.
_CONTAINER_PORT = ("containerPort", "protocol")
_SERVICE_PORT = ("port", "protocol")
_KEY_DEFAULTS = {"protocol": "TCP"}
_SETS = frozenset({"finalizers"})

_QUANTITY_MAPS = frozenset({"limits", "requests", "capacity", "overhead"})
_QUANTITY_FIELDS = frozenset({"sizeLimit", "averageValue", "divisor"})

# Maps that the API server drops when they are empty (structs such as `emptyDir: {}` it keeps).
_DROPPED_WHEN_EMPTY = frozenset(
    {"annotations", "data", "labels", "limits", "matchLabels", "nodeSelector", "requests"},
)
# What identifies an object is sent with every apply and never shows in managedFields.
_IDENTITY = frozenset({"apiVersion", "kind"})
_IDENTITY_METADATA = frozenset({"name", "namespace"})


def needs_apply(live: Object | None, desired: Object, manager: str, subresource: str = "") -> bool:
    """Whether a server-side apply of `desired` by `manager` would change the live object."""
    return next(reasons(live, desired, manager, subresource), None) is not None


def reasons(live: Object | None, desired: Object, manager: str, subresource: str = "") -> Iterator[str]:
    """Why an apply is needed, a path and a word each: for the log, and for tests to say what was found."""
    if live is None:
        yield "absent"
        return
    wanted = prune(desired)
    yield from _differences(live, wanted, ())
    owned = _owned_fields(live, manager, subresource)
    content = {key: value for key, value in wanted.items() if key not in _IDENTITY}
    content["metadata"] = {
        key: value for key, value in wanted.get("metadata", {}).items() if key not in _IDENTITY_METADATA
    }
    if not content["metadata"]:
        del content["metadata"]
    yield from _not_owned(owned, content, ())
    yield from _stale(owned, content, ())


def prune(value: Any, name: str = "") -> Any:
    """Without nulls, empty lists and the empty maps the API server would drop: an apply of those never settles."""
    if isinstance(value, Mapping):
        pruned = {key: prune(item, key) for key, item in value.items()}
        return {key: item for key, item in pruned.items() if not _dropped(key, item)}
    if isinstance(value, list | tuple):
        return [prune(item, name) for item in value]
    return value


def _dropped(name: str, value: Any) -> bool:
    return value is None or value == [] or (value == {} and name in _DROPPED_WHEN_EMPTY)


# --- values ---------------------------------------------------------------------------------------------------------


def _differences(live: Any, wanted: Any, path: Path) -> Iterator[str]:
    if isinstance(wanted, Mapping):
        yield from _map_differences(live, wanted, path)
    elif isinstance(wanted, list):
        yield from _list_differences(live, wanted, path)
    elif not _same_scalar(live, wanted, path):
        yield f"{_show(path)}: differs"


def _map_differences(live: Any, wanted: Object, path: Path) -> Iterator[str]:
    if not isinstance(live, Mapping):
        yield f"{_show(path)}: differs"
        return
    for key, value in wanted.items():
        below = (*path, key)
        if key not in live:
            # The server leaves zero values out of many fields. A removed one is found by its lost ownership.
            if isinstance(value, Mapping | list) or value:
                yield f"{_show(below)}: absent"
        else:
            yield from _differences(live[key], value, below)


def _list_differences(live: Any, wanted: list[Any], path: Path) -> Iterator[str]:
    if not isinstance(live, list):
        yield f"{_show(path)}: differs"
        return
    keys = _merge_keys(path[-1], wanted)
    if path[-1] in _SETS:
        yield from (f"{_show(path)}: {item} absent" for item in wanted if item not in live)
    elif keys is None:
        yield from _atomic_differences(live, wanted, path)
    else:
        for item in wanted:
            match = _find(live, keys, item)
            below = (*path, f"[{_label(keys, item)}]")
            if match is None:
                yield f"{_show(below)}: absent"
            else:
                yield from _map_differences(match, item, below)


def _atomic_differences(live: list[Any], wanted: list[Any], path: Path) -> Iterator[str]:
    if len(live) != len(wanted):
        yield f"{_show(path)}: {len(live)} items, {len(wanted)} wanted"
        return
    for index, (have, want) in enumerate(zip(live, wanted, strict=True)):
        yield from _differences(have, want, (*path, f"[{index}]"))


def _same_scalar(live: Any, wanted: Any, path: Path) -> bool:
    if isinstance(live, bool) or isinstance(wanted, bool):  # True == 1 in Python, not in Kubernetes
        return live is wanted
    if isinstance(live, Mapping | list):
        return False
    return bool(live == wanted) or (_is_quantity(path) and quantity.equal(live, wanted))


def _is_quantity(path: Path) -> bool:
    return path[-1] in _QUANTITY_FIELDS or (len(path) > 1 and path[-2] in _QUANTITY_MAPS)


def _show(path: Path) -> str:
    return ".".join(path).replace(".[", "[")


def _merge_keys(name: str, items: Sequence[Any]) -> tuple[str, ...] | None:
    if name == "ports" and items and isinstance(items[0], Mapping):
        return _CONTAINER_PORT if "containerPort" in items[0] else _SERVICE_PORT
    return _MERGE_KEYS.get(name)


def _find(items: Sequence[Any], keys: tuple[str, ...], wanted: Object) -> Object | None:
    for item in items:
        if isinstance(item, Mapping) and all(_key_value(item, key) == _key_value(wanted, key) for key in keys):
            return item
    return None


def _key_value(item: Object, key: str) -> Any:
    return item.get(key, _KEY_DEFAULTS.get(key))


def _label(keys: tuple[str, ...], item: Object) -> str:
    return ",".join(str(_key_value(item, key)) for key in keys)


# --- ownership ------------------------------------------------------------------------------------------------------
# managedFields is a tree: "f:name" is a field, 'k:{"name":"x"}' the item of a keyed list, 'v:"x"' that of a set,
# "." the node itself. An empty leaf stands for everything below it (scalars, atomic lists and maps).


def _owned_fields(live: Object, manager: str, subresource: str) -> dict[str, Any]:
    owned: dict[str, Any] = {}
    for entry in live.get("metadata", {}).get("managedFields") or []:
        ours = entry.get("manager") == manager and entry.get("operation") == "Apply"
        if ours and entry.get("subresource", "") == subresource:
            _merge(owned, entry.get("fieldsV1") or {})
    return owned


def _merge(into: dict[str, Any], other: Object) -> None:
    """One manager has an entry for each API version it ever applied with."""
    for key, value in other.items():
        _merge(into.setdefault(key, {}), value)


def _not_owned(owned: Object, wanted: Any, path: Path) -> Iterator[str]:
    if isinstance(wanted, Mapping):
        for key, value in wanted.items():
            below = (*path, key)
            if f"f:{key}" not in owned:
                yield f"{_show(below)}: not owned"
            elif owned[f"f:{key}"]:
                yield from _not_owned(owned[f"f:{key}"], value, below)
    elif isinstance(wanted, list):
        for index, item in enumerate(wanted):
            node = _owned_item(owned, item)
            if node is None:
                yield f"{_show(path)}[{index}]: not owned"
            elif node:
                yield from _not_owned(node, item, (*path, f"[{index}]"))


def _owned_item(owned: Object, item: Any) -> Object | None:
    """What we own of an item, None where it is not ours."""
    for key, below in owned.items():
        if key.startswith("k:") and isinstance(item, Mapping) and _key_matches(key, item):
            return _as_map(below)
        if key.startswith("v:") and json.loads(key[2:]) == item:
            return _as_map(below)
    return None


def _stale(owned: Object, wanted: Any, path: Path) -> Iterator[str]:
    for key, below in owned.items():
        kind, _, name = key.partition(":")
        if kind == "f":
            if not isinstance(wanted, Mapping) or name not in wanted:
                yield f"{_show((*path, name))}: no longer wanted"
            else:
                yield from _stale(below, wanted[name], (*path, name))
        elif kind in {"k", "v"}:
            item = _wanted_item(key, wanted)
            if item is None:
                yield f"{_show(path)}[{name}]: no longer wanted"
            elif kind == "k":
                yield from _stale(_without_keys(key, below), item, (*path, f"[{name}]"))


def _without_keys(key: str, below: Object) -> dict[str, Any]:
    """An item's own keys may be defaulted by the server (protocol: TCP), so they are never stale within it."""
    names = {f"f:{name}" for name in json.loads(key[2:])}
    return {name: value for name, value in below.items() if name not in names}


def _wanted_item(key: str, wanted: Any) -> Any:
    if not isinstance(wanted, list):
        return None
    if key.startswith("v:"):
        value = json.loads(key[2:])
        return value if value in wanted else None
    return next((item for item in wanted if isinstance(item, Mapping) and _key_matches(key, item)), None)


def _key_matches(key: str, item: Object) -> bool:
    names: dict[str, Any] = json.loads(key[2:])
    return all(_key_value(item, name) == value for name, value in names.items())


def _as_map(value: Any) -> Object:
    return value if isinstance(value, Mapping) else {}
