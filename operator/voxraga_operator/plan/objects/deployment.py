"""The Deployment of the server pods."""

import json
from math import ceil
from typing import Any

from voxraga_operator.api.common import seconds
from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import labels
from voxraga_operator.plan.canonical import canonical_quantity, compact, number, quantities
from voxraga_operator.plan.names import STORE_PATH, digest, model_path
from voxraga_operator.plan.objects import pod
from voxraga_operator.plan.objects.child import child
from voxraga_operator.plan.types import Manifest
from voxraga_operator.settings import OperatorSettings

PORT = 8080
GRACE = 15
"""Seconds that a pod has beyond its drain timeout; the contract with the runtime names them."""
PRE_STOP = 5
"""Seconds in which a pod that is going still answers, until every node knows that it is going."""
SETTLE = 5
"""Seconds that a pod must have been ready before it counts as available: until every node sends requests to it. Without
them the Service refuses connections for a moment after the first pod is ready, and after a rollout's last step.
"""

_STRATEGIES = {
    "Surge": {"maxSurge": 1, "maxUnavailable": 0},
    "Replace": {"maxSurge": 0, "maxUnavailable": 1},
}


def deployment(model: VoiceModel, template: dict[str, Any], *, replicas: int | None) -> Manifest:
    """`replicas` is None where an autoscaler decides: a field that is not applied is left alone."""
    spec = compact(
        {
            "selector": {"matchLabels": labels.selector_labels(model, "server")},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": _STRATEGIES[model.spec.rollout.strategy]},
            "minReadySeconds": SETTLE,
            "revisionHistoryLimit": 3,
            # Longer than the startup probe waits: a slow load is no failed rollout.
            "progressDeadlineSeconds": 1200,
            "template": template,
        }
    )
    annotations = {labels.TEMPLATE: digest(spec)}
    if replicas is not None:
        spec["replicas"] = replicas
    return child(model, "apps/v1", "Deployment", model.metadata.name, "server", spec=spec, annotations=annotations)


def server_template(model: VoiceModel, settings: OperatorSettings, *, key: str, one_node: bool) -> dict[str, Any]:
    """The pods that serve the model of a key."""
    drain = ceil(seconds(model.spec.serving.drain_timeout))
    spec = {
        **pod.pod_spec(model, "server", one_node=one_node),
        "runtimeClassName": _runtime_class(model),
        "topologySpreadConstraints": _spread(model),
        "terminationGracePeriodSeconds": drain + GRACE,
        "containers": [_container(model, settings, key)],
        "volumes": [pod.tmp_volume(), pod.store_volume(model)],
    }
    return {"metadata": pod.metadata(model, "server", key), "spec": compact(spec)}


def _container(model: VoiceModel, settings: OperatorSettings, key: str) -> dict[str, Any]:
    return {
        "name": pod.SERVER,
        **pod.image(model, settings),
        "args": ["serve"],
        "env": environment(model, key),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(model),
        "securityContext": pod.CONTAINER_SECURITY,
        "startupProbe": _probe("/ready", period=2, timeout=5, failures=450),
        "readinessProbe": _probe("/ready", period=3, timeout=3, failures=2),
        "livenessProbe": _probe("/live", period=10, timeout=5, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
            {"name": "store", "mountPath": STORE_PATH, "readOnly": True},
        ],
    }


def environment(model: VoiceModel, key: str) -> list[dict[str, Any]]:
    """The server's settings, and the user's variables, which can't take the place of one of them."""
    own = [{"name": f"VOXRAGA_{name}", "value": value} for name, value in _settings(model, key).items()]
    return own + [pod.without_empty(variable.to_json()) for variable in model.spec.pod_template.env]


def _settings(model: VoiceModel, key: str) -> dict[str, str]:
    serving = model.spec.serving
    values = {
        "MODEL_NAME": model.metadata.name,
        "MODEL_PATH": model_path(key),
        "TASK": model.spec.task,
        "DEVICE": "cuda" if model.spec.device.type == "GPU" else "cpu",
        "PORT": str(PORT),
        "MAX_CONCURRENCY": None if serving.max_concurrency is None else str(serving.max_concurrency),
        "QUEUE_DEPTH": str(serving.queue_depth),
        "QUEUE_TIMEOUT": number(seconds(serving.queue_timeout)),
        "MAX_TEXT_LENGTH": str(serving.max_text_length),
        "CPU_THREADS": str(serving.cpu_threads),
        "DEFAULT_VOICE": serving.defaults.voice,
        "DEFAULT_LANGUAGE": serving.defaults.language,
        "DEFAULT_SPEED": str(serving.defaults.speed),
        "DEFAULT_FORMAT": serving.defaults.format,
        "VOICE_ALIASES": json.dumps(serving.voice_aliases, sort_keys=True, ensure_ascii=False),
        "LOG_LEVEL": serving.log_level,
        "DRAIN_TIMEOUT": number(seconds(serving.drain_timeout)),
    }
    return compact(values)


def _resources(model: VoiceModel) -> dict[str, Any]:
    limits = quantities(model.spec.resources.limits)
    if model.spec.device.type == "GPU":
        limits[model.spec.device.gpu.resource] = canonical_quantity(str(model.spec.device.gpu.count))
    return compact({"requests": quantities(model.spec.resources.requests), "limits": limits})


def _probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _runtime_class(model: VoiceModel) -> str | None:
    return model.spec.device.gpu.runtime_class_name if model.spec.device.type == "GPU" else None


def _spread(model: VoiceModel) -> list[dict[str, Any]]:
    selector = {"matchLabels": labels.selector_labels(model, "server")}
    return [
        {**each.to_json(), "labelSelector": selector} for each in model.spec.pod_template.topology_spread_constraints
    ]
