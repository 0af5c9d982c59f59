"""The HorizontalPodAutoscaler: how many server pods there are follows their load."""

from math import ceil
from typing import Any

from voxraga_operator.api.autoscaling import Autoscaling
from voxraga_operator.api.common import seconds
from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan.objects.child import child
from voxraga_operator.plan.objects.pod import SERVER
from voxraga_operator.plan.types import Manifest


def autoscaler(model: VoiceModel, wanted: Autoscaling) -> Manifest:
    """Up at once, since callers wait; down after a delay, since loading a model takes time."""
    targets = {"cpu": wanted.targets.cpu, "memory": wanted.targets.memory}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": model.metadata.name},
        "minReplicas": wanted.min_replicas,
        "maxReplicas": wanted.max_replicas,
        "metrics": [_metric(resource, target) for resource, target in targets.items() if target is not None],
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {"stabilizationWindowSeconds": ceil(seconds(wanted.scale_down_delay))},
        },
    }
    return child(model, "autoscaling/v2", "HorizontalPodAutoscaler", model.metadata.name, "server", spec=spec)


def _metric(resource: str, target: int) -> dict[str, Any]:
    """Measured on the server's container alone: sidecars that others inject don't count."""
    return {
        "type": "ContainerResource",
        "containerResource": {
            "container": SERVER,
            "name": resource,
            "target": {"type": "Utilization", "averageUtilization": target},
        },
    }
