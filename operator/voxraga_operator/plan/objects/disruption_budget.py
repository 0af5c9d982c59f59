"""The PodDisruptionBudget: of all server pods, one may be taken away at a time."""

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import labels
from voxraga_operator.plan.objects.child import child
from voxraga_operator.plan.types import Manifest


def disruption_budget(model: VoiceModel) -> Manifest:
    """One may always go, so a node of a model with a single pod can be drained; and so may pods that don't work."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": labels.selector_labels(model, "server")},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return child(model, "policy/v1", "PodDisruptionBudget", model.metadata.name, "server", spec=spec)
