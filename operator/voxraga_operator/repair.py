"""What to do where an apply can't undo a hand edit: pure, objects in and objects out.

Server-side apply never takes away what another manager added. An edit that replaces one of our values by its sibling
(a volume's emptyDir by a hostPath, a Service's port 80 by 81) leaves the sibling standing, and together they are
invalid: the API server refuses every apply. Then the object's spec is replaced as a whole, once, by a manager of its
own, which is forgotten afterwards, or it would keep alive what a later apply leaves out.
"""

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

MANAGER = "voxraga-operator-repair"

# Jobs and claims are all but immutable: nobody can have edited them.
_KINDS = frozenset({"Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Service"})
_UNPROCESSABLE = 422


def possible(status: int, live: Mapping[str, Any] | None, desired: Mapping[str, Any]) -> bool:
    return status == _UNPROCESSABLE and live is not None and desired["kind"] in _KINDS


def replacement(live: Mapping[str, Any], desired: Mapping[str, Any]) -> list[Object]:
    """A JSON patch to our spec, which needs no right to update. It conflicts if the object has changed meanwhile."""
    spec = dict(desired["spec"])
    if desired["kind"] == "Deployment" and "replicas" not in spec:  # an autoscaler's
        spec["replicas"] = live["spec"].get("replicas", 1)
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/spec", "value": spec},
    ]


def forget(live: Mapping[str, Any]) -> list[Object]:
    """A JSON patch that takes our one-time manager out of managedFields again."""
    entries = live["metadata"].get("managedFields") or []
    for index, entry in enumerate(entries):
        if entry.get("manager") == MANAGER:
            path = f"/metadata/managedFields/{index}"
            return [{"op": "test", "path": f"{path}/manager", "value": MANAGER}, {"op": "remove", "path": path}]
    return []
