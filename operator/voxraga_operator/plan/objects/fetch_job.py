"""The Job that fills the model store: download, verify, publish."""

import json
from typing import Any

from voxraga_operator import quantity
from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import labels
from voxraga_operator.plan.canonical import compact, quantities
from voxraga_operator.plan.names import SECRET_PATH, SOURCE_PATH, STORE_PATH, digest, job_name, store_key
from voxraga_operator.plan.objects import pod
from voxraga_operator.plan.objects.child import child
from voxraga_operator.plan.types import Manifest
from voxraga_operator.settings import OperatorSettings

_REQUESTS = {"cpu": "100m", "memory": "256Mi"}

_KEEP = "VOXRAGA_KEEP"

_NOT_RETRIABLE = 2
"""Exit status of a fetch that can't succeed by being tried again."""


def fetch_job(
    model: VoiceModel, settings: OperatorSettings, *, claim_uid: str, keep: list[str], one_node: bool
) -> Manifest:
    """A Job's pods can't be changed: the digest of what was wanted stands in an annotation, so that a Job of an
    earlier spec is known. `keep` is left out of it: it tells what was being served when the Job was made.
    """
    template = _template(model, settings, one_node=one_node)
    annotations = {
        labels.TEMPLATE: digest(template),
        labels.CLAIM_UID: claim_uid,
    }
    template["spec"]["containers"][0]["env"].append({"name": _KEEP, "value": json.dumps(sorted(keep))})
    spec = {
        "backoffLimit": 5,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": pod.FETCH, "operator": "In", "values": [_NOT_RETRIABLE]},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": template,
    }
    key = store_key(model.spec)
    job = child(model, "batch/v1", "Job", job_name(model, key), "fetch", spec=spec, annotations=annotations)
    job["metadata"]["labels"][labels.KEY] = key
    return job


def kept(job: Manifest) -> list[str]:
    """The keys that a live Job was told to leave in the store."""
    environment = job["spec"]["template"]["spec"]["containers"][0].get("env") or []
    told = next((variable.get("value") for variable in environment if variable["name"] == _KEEP), None)
    return list(json.loads(told or "[]"))


def _template(model: VoiceModel, settings: OperatorSettings, *, one_node: bool) -> dict[str, Any]:
    volumes, mounts = _volumes(model)
    container = {
        "name": pod.FETCH,
        **pod.image(model, settings),
        "args": ["fetch"],
        "env": [{"name": name, "value": value} for name, value in _environment(model).items()],
        "resources": _resources(model),
        "securityContext": pod.CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }
    spec = {
        **pod.pod_spec(model, "fetch", one_node=one_node),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 10,
        "containers": [container],
        "volumes": volumes,
    }
    return {"metadata": pod.metadata(model, "fetch", store_key(model.spec)), "spec": spec}


def _environment(model: VoiceModel) -> dict[str, str]:
    source = model.spec.source
    values = {
        "VOXRAGA_SOURCE": json.dumps(source.to_json(), sort_keys=True),
        "VOXRAGA_TASK": model.spec.task,
        "VOXRAGA_STORE_KEY": store_key(model.spec),
        "VOXRAGA_STORE_PATH": STORE_PATH,
        "VOXRAGA_SOURCE_PATH": SOURCE_PATH if source.persistent_volume_claim else None,
        "VOXRAGA_SECRET_PATH": SECRET_PATH if source.secret_name else None,
        "VOXRAGA_ACCEPTED_LICENSES": json.dumps(sorted(model.spec.license.accepted)),
        "VOXRAGA_LOG_LEVEL": model.spec.serving.log_level,
    }
    return compact(values)


def _resources(model: VoiceModel) -> dict[str, Any]:
    """Little is set aside; the memory limit is the server's, since the model is loaded once to see that it can be."""
    limits = {name: value for name, value in model.spec.resources.limits.items() if name in ("cpu", "memory")}
    return compact({"requests": _within(_REQUESTS, quantities(limits)), "limits": quantities(limits)})


def _within(requests: dict[str, str], limits: dict[str, str]) -> dict[str, str]:
    """Where a limit is given that is lower than the usual request, the limit is the request."""
    return {name: _least(value, limits.get(name)) for name, value in requests.items()}


def _least(request: str, limit: str | None) -> str:
    if limit is None:
        return request
    return min((request, limit), key=lambda value: quantity.parse(value) or 0)


def _volumes(model: VoiceModel) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes = [pod.tmp_volume(), pod.store_volume(model)]
    mounts: list[dict[str, Any]] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
        {"name": "store", "mountPath": STORE_PATH},
    ]
    source = model.spec.source
    if source.persistent_volume_claim:
        name = source.persistent_volume_claim.claim_name
        volumes.append({"name": "source", "persistentVolumeClaim": {"claimName": name, "readOnly": True}})
        mounts.append({"name": "source", "mountPath": SOURCE_PATH, "readOnly": True})
    if source.secret_name:
        volumes.append({"name": "secret", "secret": {"secretName": source.secret_name}})
        mounts.append({"name": "secret", "mountPath": SECRET_PATH, "readOnly": True})
    return volumes, mounts
