"""What all children share: their labels and the reference to their owner."""

from typing import Any

from voxraga_operator.api.common import API_VERSION
from voxraga_operator.api.voicemodel import KIND, VoiceModel
from voxraga_operator.plan import labels
from voxraga_operator.plan.canonical import compact
from voxraga_operator.plan.labels import Component
from voxraga_operator.plan.types import Manifest


def child(
    model: VoiceModel,
    api_version: str,
    kind: str,
    name: str,
    component: Component,
    *,
    spec: dict[str, Any],
    annotations: dict[str, str] | None = None,
    owned: bool = True,
) -> Manifest:
    """A child object; `owned`: garbage collection takes it away with the VoiceModel."""
    metadata = {
        "name": name,
        "namespace": model.metadata.namespace,
        "labels": labels.labels(model, component),
        "annotations": annotations,
        "ownerReferences": [_reference(model)] if owned else None,
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": compact(metadata), "spec": spec}


def _reference(model: VoiceModel) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": model.metadata.name,
        "uid": model.metadata.uid,
        "controller": True,
    }
