"""The operator keeps what it made: heals it, writes nothing when nothing changed, and cleans up by ownership."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import audit
from tests.e2e.clusters import Site
from tests.e2e.kube import Kube, condition
from tests.e2e.speaker import speak
from tests.e2e.steps import SYSTEM
from tests.e2e.voicemodels import voicemodel

pytestmark = pytest.mark.node

OWNED = "app.kubernetes.io/managed-by=voxraga-operator"
KINDS = "deployments,services,jobs,persistentvolumeclaims,poddisruptionbudgets,horizontalpodautoscalers,pods"


@pytest.fixture(scope="module")
def owned(kube: Kube) -> Iterator[Kube]:
    scaled = {"minReplicas": 1, "maxReplicas": 2, "targets": {"cpu": 90}}
    kube.apply(voicemodel("owned", source={"builtin": {"name": "demo"}}, autoscaling=scaled))
    kube("wait", "--for=condition=Ready", "voicemodel/owned", "--timeout=300s", timeout=310)
    yield kube
    kube("delete", "voicemodel", "owned", "--ignore-not-found")


@pytest.mark.parametrize("kind", ["deployment", "service", "poddisruptionbudget", "horizontalpodautoscaler"])
def test_a_deleted_child_comes_back(owned: Kube, kind: str) -> None:
    def uid() -> object:
        return owned.get(kind, "owned").get("metadata", {}).get("uid")

    before = uid()
    owned("delete", kind, "owned")
    owned.until(f"another {kind}", lambda: uid() not in (None, before))


EDITS: dict[str, dict[str, Any]] = {
    "deployment": {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 99}}}},
    "service": {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": "http"}]}},
    "horizontalpodautoscaler": {"spec": {"maxReplicas": 50}},
    "poddisruptionbudget": {"spec": {"maxUnavailable": 7}},
}


@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_by_hand_is_undone(owned: Kube, kind: str) -> None:
    before = owned.get(kind, "owned")["spec"]
    owned.patch(kind, "owned", EDITS[kind])
    owned.until("the edit undone", lambda: owned.get(kind, "owned")["spec"] == before)


def test_the_autoscaler_sees_the_load(owned: Kube, site: Site) -> None:
    if not site.metrics:
        pytest.skip("this cluster has no metrics-server: install it, or run on our own node (make test-node)")

    def active() -> bool:
        return condition(owned.get("voicemodel", "owned"), "AutoscalingActive").get("status") == "True"

    owned.until("AutoscalingActive", active)
    assert owned.get("hpa", "owned")["status"]["currentMetrics"][0]["containerResource"]["container"] == "server"
    owned("scale", "voicemodel", "owned", "--replicas=5")  # the autoscaler's business, as status says
    assert owned.get("deployment", "owned")["spec"]["replicas"] <= 2


def test_nothing_is_written_while_nothing_changes(owned: Kube, audit_log: Path) -> None:
    owned("wait", "--for=condition=Ready", "voicemodel/owned", "--timeout=300s", timeout=310)

    def writes_within(seconds: float) -> list[str]:
        since = audit.end(audit_log)
        time.sleep(seconds)
        found = audit.entries(audit_log, since, f"system:serviceaccount:{SYSTEM}:voxraga-operator")
        assert found, "the log shows the operator at all"
        return [write for write in audit.writes(found) if "/leases/" not in write]

    owned.until("the last pod's events have been seen", lambda: not writes_within(15))
    assert writes_within(60) == []


def test_a_changed_spec_rolls(owned: Kube) -> None:
    owned.patch("voicemodel", "owned", {"spec": {"serving": {"queueDepth": 7}}})
    setting = {"name": "VOXRAGA_QUEUE_DEPTH", "value": "7"}

    def rolled() -> bool:
        pods = owned.list("pods", "app.kubernetes.io/instance=owned,app.kubernetes.io/component=server")
        return bool(pods) and all(
            setting in pod["spec"]["containers"][0]["env"] and condition(pod, "Ready").get("status") == "True"
            for pod in pods
        )

    owned.until("only ready pods with the new setting", rolled)
    owned("wait", "--for=condition=Ready", "voicemodel/owned", "--timeout=300s", timeout=310)
    url = f"http://owned.{owned.namespace}.svc.cluster.local"
    assert speak(owned, url, [{"input": "Rolled."}])[0].status == 200


def test_deletion_leaves_nothing(owned: Kube) -> None:
    instance = f"{OWNED},app.kubernetes.io/instance=owned"
    owned("delete", "voicemodel", "owned", "--wait=true")
    owned.until("no child left", lambda: not owned.list(KINDS, instance))


def test_retain_leaves_the_store_and_a_successor_takes_it_over(kube: Kube) -> None:
    instance = f"{OWNED},app.kubernetes.io/instance=kept"
    kept = voicemodel("kept", source={"builtin": {"name": "demo"}}, store={"deletionPolicy": "Retain"})
    kube.apply(kept)
    kube.until("stored", lambda: condition(kube.get("voicemodel", "kept"), "ModelStored").get("status") == "True")
    before = kube.get("pvc", "kept-store")["metadata"]["uid"]
    kube("delete", "voicemodel", "kept", "--wait=true")
    kube.until(
        "only the store left",
        lambda: [c["kind"] for c in kube.list(KINDS, instance)] == ["PersistentVolumeClaim"],
    )
    kube.apply(voicemodel("kept", source={"builtin": {"name": "demo"}}))
    kube.until("stored again", lambda: condition(kube.get("voicemodel", "kept"), "ModelStored").get("status") == "True")
    assert kube.get("pvc", "kept-store")["metadata"]["uid"] == before
    kube("delete", "voicemodel", "kept", "--wait=true")
    kube.until("nothing left: the successor's policy is Delete", lambda: not kube.list(KINDS, instance))
