"""The Service under which the server pods are reached."""

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import labels
from voxraga_operator.plan.objects.child import child
from voxraga_operator.plan.types import Manifest


def service(model: VoiceModel) -> Manifest:
    wanted, wyoming = model.spec.service, model.spec.serving.wyoming
    ports = {"http": wanted.port} | ({"wyoming": wyoming.port} if wyoming.enabled else {})
    spec = {
        "type": wanted.type,
        "selector": labels.selector_labels(model, "server"),
        "ports": [{"name": name, "port": port, "protocol": "TCP", "targetPort": name} for name, port in ports.items()],
    }
    return child(model, "v1", "Service", model.metadata.name, "server", spec=spec, annotations=dict(wanted.annotations))
