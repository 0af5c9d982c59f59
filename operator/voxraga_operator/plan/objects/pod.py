"""What the pods of the fetch Job and of the server share: security, volumes, and where they may run."""

import copy
from typing import Any

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import labels
from voxraga_operator.plan.canonical import compact
from voxraga_operator.plan.labels import Component
from voxraga_operator.plan.names import claim_name
from voxraga_operator.settings import OperatorSettings

SERVER = "server"
FETCH = "fetch"

HOSTNAME = "kubernetes.io/hostname"
GPU_PRESENT = "nvidia.com/gpu.present"
"""Label that NVIDIA's GPU feature discovery puts on nodes with a GPU."""

USER = 10001
"""The runtime image's user and group."""

TMP_SIZE = "1Gi"

POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}

CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def image(model: VoiceModel, settings: OperatorSettings) -> dict[str, str]:
    """Image and pull policy of a container: the user's, or else the operator's."""
    wanted = model.spec.image
    gpu = model.spec.device.type == "GPU"
    own = (wanted.gpu or settings.runtime_gpu_image) if gpu else (wanted.cpu or settings.runtime_cpu_image)
    return {"image": own, "imagePullPolicy": wanted.pull_policy or settings.image_pull_policy}


def metadata(model: VoiceModel, component: Component, key: str) -> dict[str, Any]:
    """Labels and annotations of a pod; the user's never take the place of ours."""
    own = {labels.KEY: key, labels.STORE: labels.store_value(claim_name(model))}
    wanted = model.spec.pod_template
    return compact(
        {
            "labels": wanted.labels | labels.labels(model, component) | own,
            "annotations": dict(wanted.annotations),
        }
    )


def pod_spec(model: VoiceModel, component: Component, *, one_node: bool) -> dict[str, Any]:
    """The part of a pod's spec that is the same for both; `one_node`: the store can be mounted on one node only."""
    wanted = model.spec.pod_template
    return compact(
        {
            "automountServiceAccountToken": False,
            # Else a Service called "voxraga" would set VOXRAGA_PORT in every pod of its namespace.
            "enableServiceLinks": False,
            "serviceAccountName": wanted.service_account_name,
            "securityContext": POD_SECURITY,
            "nodeSelector": dict(wanted.node_selector),
            "tolerations": tolerations(model),
            "affinity": affinity(model, component, one_node=one_node),
            "imagePullSecrets": [secret.to_json() for secret in wanted.image_pull_secrets],
            "priorityClassName": wanted.priority_class_name,
        }
    )


def without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """An empty string in a pod is no value: the API server drops it."""
    return {name: value for name, value in fields.items() if value != ""}


def tmp_volume() -> dict[str, Any]:
    return {"name": "tmp", "emptyDir": {"sizeLimit": TMP_SIZE}}


def store_volume(model: VoiceModel) -> dict[str, Any]:
    """The claim is never read-only as a volume: the same one is mounted by the fetch Job for writing."""
    return {"name": "store", "persistentVolumeClaim": {"claimName": claim_name(model)}}


def tolerations(model: VoiceModel) -> list[dict[str, Any]]:
    own = [without_empty(toleration.to_json()) for toleration in model.spec.pod_template.tolerations]
    if model.spec.device.type == "GPU":
        own.append({"key": model.spec.device.gpu.resource, "operator": "Exists", "effect": "NoSchedule"})
    return own


def affinity(model: VoiceModel, component: Component, *, one_node: bool) -> dict[str, Any]:
    """The user's affinity and, added to it, what the store and the device need."""
    result: dict[str, Any] = copy.deepcopy(model.spec.pod_template.affinity or {})
    if one_node:
        term = {
            "labelSelector": {"matchLabels": {labels.STORE: labels.store_value(claim_name(model))}},
            "topologyKey": HOSTNAME,
        }
        _terms(_map(result, "podAffinity"), _REQUIRED).append(term)
    _add_device(model, component, result)
    return result


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def _add_device(model: VoiceModel, component: Component, result: dict[str, Any]) -> None:
    gpu = model.spec.device.gpu
    nodes = _map(result, "nodeAffinity")
    if model.spec.device.type == "CPU":
        _prefer(nodes, {"key": GPU_PRESENT, "operator": "NotIn", "values": ["true"]})
    elif gpu.products:
        _require(nodes, {"key": gpu.product_label, "operator": "In", "values": list(gpu.products)})
    elif component == FETCH:
        # The fetch asks for no GPU, but a local volume is made where it runs: better on a node that has one.
        _prefer(nodes, {"key": gpu.product_label, "operator": "Exists"})
    if not nodes:
        del result["nodeAffinity"]


def _prefer(nodes: dict[str, Any], requirement: dict[str, Any]) -> None:
    _terms(nodes, _PREFERRED).append({"weight": 100, "preference": {"matchExpressions": [requirement]}})


def _require(nodes: dict[str, Any], requirement: dict[str, Any]) -> None:
    """A node must match any of the terms: so each of the user's gets the requirement."""
    terms = _terms(_map(nodes, _REQUIRED), "nodeSelectorTerms")
    if not terms:
        terms.append({})
    for term in terms:
        if isinstance(term, dict):
            _terms(term, "matchExpressions").append(requirement)


def _map(parent: dict[str, Any], name: str) -> dict[str, Any]:
    """The map of that name, made where there is none (or, from the user, something that is none)."""
    if not isinstance(parent.get(name), dict):
        parent[name] = {}
    below: dict[str, Any] = parent[name]
    return below


def _terms(parent: dict[str, Any], name: str) -> list[Any]:
    if not isinstance(parent.get(name), list):
        parent[name] = []
    below: list[Any] = parent[name]
    return below
