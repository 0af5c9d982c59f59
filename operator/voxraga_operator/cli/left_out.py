"""Which fields of a VoiceModel mean nothing without a cluster, and what holds here in their place."""

from collections.abc import Iterator
from typing import Any

from voxraga_operator.cli.document import Document

_ONE_SERVER = "one server runs here"
_WHOLE_MACHINE = "the processes may use what this machine has; limit them by systemd, Compose or ulimit"
_FOLDER = "the store is a folder (--store)"
_NO_PODS = "there are no pods, only processes"
_OWN_ADDRESS = "the address is --host and --port"

INSTEAD = {
    "spec.store.size": "the folder may take what its disk has free",
    "spec.store.storageClassName": _FOLDER,
    "spec.store.accessMode": _FOLDER,
    "spec.store.deletionPolicy": "the folder stays until you remove it",
    "spec.store.existingClaim": _FOLDER,
    "spec.device.gpu.resource": "the first GPU of this machine is taken",
    "spec.device.gpu.count": "the first GPU of this machine is taken",
    "spec.device.gpu.products": "the first GPU of this machine is taken",
    "spec.device.gpu.productLabel": "the first GPU of this machine is taken",
    "spec.device.gpu.runtimeClassName": _NO_PODS,
    "spec.replicas": _ONE_SERVER,
    "spec.autoscaling": _ONE_SERVER,
    "spec.resources": _WHOLE_MACHINE,
    "spec.service": _OWN_ADDRESS,
    "spec.rollout": "a change takes effect at the next start",
    "spec.podTemplate.labels": _NO_PODS,
    "spec.podTemplate.annotations": _NO_PODS,
    "spec.podTemplate.nodeSelector": _NO_PODS,
    "spec.podTemplate.tolerations": _NO_PODS,
    "spec.podTemplate.affinity": _NO_PODS,
    "spec.podTemplate.topologySpreadConstraints": _NO_PODS,
    "spec.podTemplate.imagePullSecrets": _NO_PODS,
    "spec.podTemplate.priorityClassName": _NO_PODS,
    "spec.podTemplate.serviceAccountName": _NO_PODS,
    "spec.image": "the runtime that is installed beside this command is used",
}
"""Field → what holds in its place."""

USED = (
    "spec.task",
    "spec.source",
    "spec.license",
    "spec.device.type",
    "spec.precision",
    "spec.serving",
    "spec.access",
    "spec.podTemplate.env",
)
"""Fields that mean the same here as in a cluster. A test sees to it that each field of the CRD is in one of the two."""

_SAME_HERE = {"spec.replicas": 1}
"""Values that ask for just what is done here."""


def left_out(given: Document) -> list[str]:
    """A line for each field that the file sets and that is left out; what only has its default is not told of."""
    told: dict[str, list[str]] = {}
    for path, instead in INSTEAD.items():
        value = _at(given, path)
        if value not in (None, {}, [], _SAME_HERE.get(path)):
            told.setdefault(instead, []).append(path)
    return [f"{', '.join(paths)}: {instead}" for instead, paths in told.items()]


def undecided(fields: Iterator[str]) -> set[str]:
    """Fields of the CRD that are in neither list."""
    known = (*INSTEAD, *USED)
    return {path for path in fields if not any(_covers(each, path) or _covers(path, each) for each in known)}


def _covers(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.")


def _at(given: Document, path: str) -> Any:
    value: Any = given
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
