"""The Deployment of the server pods."""

from math import ceil
from typing import Any

from voxraga_operator.api.common import seconds
from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import labels
from voxraga_operator.plan.canonical import canonical_quantity, compact, quantities
from voxraga_operator.plan.names import API_KEYS_PATH, STORE_PATH, UPLOADS_FOLDER, UPLOADS_PATH, digest
from voxraga_operator.plan.objects import pod
from voxraga_operator.plan.objects.child import child
from voxraga_operator.plan.objects.environment import PORT, environment
from voxraga_operator.plan.types import Manifest
from voxraga_operator.settings import OperatorSettings

GRACE = 15
"""Seconds that a pod has beyond its drain timeout; the contract with the runtime names them."""
PRE_STOP = 5
"""Seconds in which a pod that is going still answers, until every node knows that it is going."""
SETTLE = 5
"""Seconds that a pod must have been ready before it counts as available: until every node sends requests to it. Without
them the Service refuses connections for a moment after the first pod is ready, and after a rollout's last step.
"""

API_KEYS = "api-keys"
"""Volume with the Secret of spec.access.apiKeys."""

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
        "volumes": [pod.tmp_volume(), pod.store_volume(model), *_keys_volume(model)],
    }
    return {"metadata": pod.metadata(model, "server", key), "spec": compact(spec)}


def _container(model: VoiceModel, settings: OperatorSettings, key: str) -> dict[str, Any]:
    return {
        "name": pod.SERVER,
        **pod.image(model, settings),
        "args": ["serve"],
        "env": environment(model, key),
        "ports": _ports(model),
        "resources": _resources(model),
        "securityContext": pod.CONTAINER_SECURITY,
        "startupProbe": _probe("/ready", period=2, timeout=5, failures=450),
        "readinessProbe": _probe("/ready", period=3, timeout=3, failures=2),
        "livenessProbe": _probe("/live", period=10, timeout=5, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},
        "volumeMounts": _mounts(model),
    }


def _ports(model: VoiceModel) -> list[dict[str, Any]]:
    ports = {"http": PORT}
    if model.spec.serving.wyoming.enabled:
        ports["wyoming"] = model.spec.serving.wyoming.port
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()]


def _keys_volume(model: VoiceModel) -> list[dict[str, Any]]:
    keys = model.spec.access.api_keys
    return [{"name": API_KEYS, "secret": {"secretName": keys.secret_name}}] if keys else []


def _mounts(model: VoiceModel) -> list[dict[str, Any]]:
    """The store is read-only but for what users upload, a folder of it that no fetch touches."""
    mounts: list[dict[str, Any]] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
        {"name": "store", "mountPath": STORE_PATH, "readOnly": True},
    ]
    if model.spec.access.api_keys:
        # The whole Secret, without subPath: only so does the kubelet exchange the files when it changes.
        mounts.append({"name": API_KEYS, "mountPath": API_KEYS_PATH, "readOnly": True})
    if model.spec.serving.uploads.enabled:
        mounts.append({"name": "store", "mountPath": UPLOADS_PATH, "subPath": UPLOADS_FOLDER})
    return mounts


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
