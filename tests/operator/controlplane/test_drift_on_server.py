"""The API server's own managedFields and defaults: what was applied needs nothing, and each hand edit is seen."""

import asyncio
from typing import Any

import pytest

from tests.cluster import audit
from tests.cluster.controlplane import ControlPlane
from voxraga_operator import drift
from voxraga_operator.cluster import Cluster
from voxraga_operator.plan.types import FIELD_MANAGER

pytestmark = pytest.mark.controlplane

LABELS = {"app.kubernetes.io/name": "voicemodel", "app.kubernetes.io/instance": "narrator"}
POD = {
    "automountServiceAccountToken": False,
    "hostNetwork": False,
    "enableServiceLinks": False,
    "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "preference": {"matchExpressions": [{"key": "nvidia.com/gpu.present", "operator": "DoesNotExist"}]},
                },
            ],
        },
    },
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": LABELS},
        },
    ],
    "containers": [
        {
            "name": "server",
            "image": "localhost/voxraga/runtime-cpu:dev",
            "args": ["serve"],
            "env": [
                {"name": "VOXRAGA_PORT", "value": "8080"},
                {"name": "EMPTY", "value": ""},  # the API server leaves it out, and "false" and 0 elsewhere
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "ports": [{"name": "http", "containerPort": 8080}],
            "startupProbe": {
                "httpGet": {"path": "/ready", "port": "http"},
                "periodSeconds": 2,
                "failureThreshold": 300,
            },
            "livenessProbe": {"httpGet": {"path": "/live", "port": 8080}},
            "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"memory": "2Gi", "cpu": 1}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [
                {"name": "store", "mountPath": "/store", "readOnly": True},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        },
    ],
    "volumes": [
        {"name": "store", "persistentVolumeClaim": {"claimName": "narrator-store", "readOnly": True}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}},
        {"name": "secret", "secret": {"secretName": "s", "items": [{"key": "a", "path": "a"}]}},
        {"name": "scratch", "emptyDir": {}},
    ],
}


def child(api_version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": "narrator",
            "labels": LABELS,
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": "owner",
                    "uid": "",
                    "controller": True,
                    "blockOwnerDeletion": True,
                },
            ],
        },
        "spec": spec,
    }


CHILDREN = {
    "Deployment": child(
        "apps/v1",
        "Deployment",
        {
            "replicas": 1,
            "selector": {"matchLabels": LABELS},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": LABELS}, "spec": POD},
        },
    ),
    "Service": child(
        "v1",
        "Service",
        {"selector": LABELS, "ports": [{"name": "http", "port": 80, "targetPort": "http"}], "type": "ClusterIP"},
    ),
    "PersistentVolumeClaim": child(
        "v1",
        "PersistentVolumeClaim",
        {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "0.25Gi"}},
            "volumeMode": "Filesystem",
        },
    ),
    "PodDisruptionBudget": child(
        "policy/v1", "PodDisruptionBudget", {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}}
    ),
    "HorizontalPodAutoscaler": child(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        {
            "minReplicas": 1,
            "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "narrator"},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
            "metrics": [
                {
                    "type": "ContainerResource",
                    "containerResource": {
                        "container": "server",
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 70},
                    },
                },
            ],
        },
    ),
    "Job": child(
        "batch/v1",
        "Job",
        {
            "backoffLimit": 3,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": "server", "operator": "In", "values": [2]},
                    },
                ],
            },
            "template": {"metadata": {"labels": LABELS}, "spec": {**POD, "restartPolicy": "Never"}},
        },
    ),
}


@pytest.fixture
async def owner(installed: ControlPlane, namespace: str) -> str:
    installed.kubectl("create", "configmap", "owner", "-n", namespace)
    return installed.kubectl("get", "configmap", "owner", "-n", namespace, "-o", "jsonpath={.metadata.uid}")


async def test_what_was_applied_needs_no_second_apply(
    installed: ControlPlane, cluster: Cluster, namespace: str, owner: str
) -> None:
    for kind, desired in CHILDREN.items():
        desired["metadata"]["namespace"] = namespace
        desired["metadata"]["ownerReferences"][0]["uid"] = owner
        await cluster.apply(desired)
        live = await cluster.get(kind, namespace, "narrator")
        assert list(drift.reasons(live, desired, FIELD_MANAGER)) == [], kind
    await asyncio.sleep(2)  # controllers write status, finalizers, cluster IPs
    for kind, desired in CHILDREN.items():
        live = await cluster.get(kind, namespace, "narrator")
        assert list(drift.reasons(live, desired, FIELD_MANAGER)) == [], kind
    edits = {
        "Deployment": [
            '[{"op":"replace","path":"/spec/replicas","value":3}]',
            '[{"op":"add","path":"/spec/template/spec/containers/0/args/1","value":"x"}]',
            '[{"op":"replace","path":"/spec/template/spec/containers/0/env/0/value","value":"1"}]',
            '[{"op":"remove","path":"/spec/template/spec/containers/0/env/1"}]',
            '[{"op":"remove","path":"/metadata/ownerReferences"}]',
            '[{"op":"replace","path":"/spec/template/spec/tolerations/0/key","value":"x"}]',
        ],
        "Service": [
            '[{"op":"replace","path":"/spec/ports/0/targetPort","value":81}]',
            '[{"op":"remove","path":"/metadata/labels"}]',
        ],
        "PodDisruptionBudget": ['[{"op":"replace","path":"/spec/maxUnavailable","value":2}]'],
        "HorizontalPodAutoscaler": [
            '[{"op":"replace","path":"/spec/maxReplicas","value":9}]',
            '[{"op":"replace","path":"/spec/metrics/0/containerResource/target/averageUtilization","value":9}]',
        ],
    }
    for kind, patches in edits.items():
        for patch in patches:
            installed.kubectl("patch", kind, "narrator", "-n", namespace, "--type=json", "-p", patch)
            live = await cluster.get(kind, namespace, "narrator")
            assert drift.needs_apply(live, CHILDREN[kind], FIELD_MANAGER), patch
            healed = await cluster.apply(CHILDREN[kind])
            assert list(drift.reasons(healed, CHILDREN[kind], FIELD_MANAGER)) == [], patch


async def test_a_field_that_is_no_longer_wanted_goes_away_with_one_apply(
    cluster: Cluster, namespace: str, owner: str
) -> None:
    desired = CHILDREN["Service"]
    desired["metadata"] |= {"namespace": namespace, "annotations": {"a": "1", "b": "2"}}
    desired["metadata"]["ownerReferences"][0]["uid"] = owner
    await cluster.apply(desired)
    desired["metadata"]["annotations"] = {"a": "1"}
    live = await cluster.get("Service", namespace, "narrator")
    assert list(drift.reasons(live, desired, FIELD_MANAGER)) == ["metadata.annotations.b: no longer wanted"]
    live = await cluster.apply(desired)
    assert live["metadata"]["annotations"] == {"a": "1"}
    assert not drift.needs_apply(live, desired, FIELD_MANAGER)
    del desired["metadata"]["annotations"]
    live = await cluster.apply(desired)
    assert "annotations" not in live["metadata"]
    assert not drift.needs_apply(live, desired, FIELD_MANAGER)


async def test_the_audit_log_tells_our_writes(installed: ControlPlane, cluster: Cluster, namespace: str) -> None:
    """The instrument of the zero-write tests: it must see a write where there is one."""
    since = audit.end(installed.audit_log)
    desired = {**CHILDREN["Service"], "metadata": {"name": "seen", "namespace": namespace}}
    await cluster.apply(desired)
    await cluster.get("Service", namespace, "seen")
    for _ in range(50):
        found = audit.writes(audit.entries(installed.audit_log, since, "admin"), "/services/seen")
        if found:
            break
        await asyncio.sleep(0.1)
    assert len(found) == 1
    assert found[0].startswith("patch ")
