"""The VoiceModels that end-to-end tests apply, and a plain file server inside the cluster for `http` sources."""

import hashlib
from pathlib import Path
from typing import Any

from tests.e2e.kube import Kube

VOICE = Path(__file__).parents[2] / "runtime/voxraga_runtime/voices/demo"
SMALL = {"requests": {"cpu": "100m", "memory": "400Mi"}, "limits": {"memory": "3Gi"}}

FILES = [
    {
        "url": f"http://files/{name}",
        "path": name,
        "sha256": hashlib.sha256((VOICE / name).read_bytes()).hexdigest(),
    }
    for name in ("model.pth", "config.json")
]


def voicemodel(name: str, **spec: Any) -> dict[str, Any]:
    """A VoiceModel that fits a small node and leaves nothing behind."""
    store = {"size": "1Gi", "deletionPolicy": "Delete"} | spec.pop("store", {})
    return {
        "apiVersion": "voxraga.io/v1alpha1",
        "kind": "VoiceModel",
        "metadata": {"name": name},
        "spec": {"store": store, "resources": SMALL, **spec},
    }


def files_server(kube: Kube, name: str = "files", config_map: str = "") -> list[dict[str, Any]]:
    """A Deployment and a Service that serve a ConfigMap's files (the demo voice's, where none is named) over HTTP,
    under restricted security.
    """
    server = kube.get("deployment", "narrator")["spec"]["template"]["spec"]["containers"][0]
    labels = {"app": name}
    where = "import os, voxraga_runtime as r; print(os.path.dirname(r.__file__) + '/voices/demo')"
    folder = "/files" if config_map else f'$(python3 -c "{where}")'
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "files",
                "image": server["image"],
                "imagePullPolicy": server["imagePullPolicy"],
                "command": ["sh", "-c", f'exec python3 -m http.server 8080 -d "{folder}"'],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "readinessProbe": {"httpGet": {"path": "/config.json", "port": 8080}, "periodSeconds": 1},
                "volumeMounts": [{"name": "files", "mountPath": "/files"}],
            }
        ],
        "volumes": [{"name": "files", **({"configMap": {"name": config_map}} if config_map else {"emptyDir": {}})}],
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]
