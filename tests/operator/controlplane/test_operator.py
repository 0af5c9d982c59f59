"""The operator as a process, with its own service account and no other rights, on a real API server."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.controlplane import ControlPlane
from tests.operator.controlplane.world import (
    ROOT,
    Process,
    World,
    service_account_kubeconfig,
    voicemodel,
)
from voxraga_operator.cluster import Cluster

pytestmark = pytest.mark.controlplane


@pytest.fixture(scope="module")
def operator(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("operator")
    process = Process(service_account_kubeconfig(installed, folder), folder / "operator.log")
    process.wait_ready()
    yield process
    assert process.stop() == 0
    troubles = [entry for entry in process.entries() if entry["level"] in {"error", "critical"}]
    assert troubles == []
    assert re.search(r"cannot \w+ resource", process.log.read_text()) is None, "a right is missing in manifests/base"


@pytest.fixture
async def world(
    installed: ControlPlane,
    cluster: Cluster,
    namespace: str,
    operator: Process,  # noqa: ARG001
    storage_class: None,  # noqa: ARG001
) -> AsyncIterator[World]:
    yield World(installed, cluster, namespace)
    installed.kubectl("delete", "voicemodels", "--all", "-n", namespace, "--wait=false")


async def gone(world: World, kind: str, name: str) -> bool:
    return await world.get(kind, name) is None


async def test_a_voicemodel_gets_its_children_and_becomes_ready(world: World) -> None:
    world.apply(voicemodel())
    model = await world.ready()
    assert model["status"]["phase"] == "Ready"
    assert model["status"]["url"] == f"http://narrator.{world.namespace}.svc.cluster.local"
    assert model["status"]["ready"] == "1/1"
    assert model["status"]["model"]["voices"] == ["slt"]
    for kind, name in (
        ("PersistentVolumeClaim", "narrator-store"),
        ("Deployment", "narrator"),
        ("Service", "narrator"),
        ("PodDisruptionBudget", "narrator"),
    ):
        child = await world.have(kind, name)
        assert child["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "voxraga-operator"
    assert "1/1" in world.kubectl("get", "voicemodel", "narrator")
    world.kubectl("wait", "--for=condition=Ready", "voicemodel/narrator", "--timeout=30s")
    told = world.kubectl("describe", "voicemodel", "narrator")
    assert "voxraga-operator" in told
    assert "ModelStored" in told.rpartition("Events:")[2]
    assert "Ready" in told.rpartition("Events:")[2]


async def test_an_unchanged_model_is_looked_at_again_and_nothing_is_written(world: World, operator: Process) -> None:
    world.apply(voicemodel())
    await world.ready()
    since = await world.quiet()
    for number in range(3):
        before = operator.metric("voxraga_operator_reconcile_total")
        # Another manager's label: an event for us, and none of our business.
        world.kubectl("label", "deployment", "narrator", f"team=voice{number}", "--overwrite")
        world.kubectl("annotate", "voicemodel", "narrator", f"note={number}", "--overwrite")

        async def looked(before: float = before) -> bool:
            return operator.metric("voxraga_operator_reconcile_total") > before

        await world.until("it was looked at again", looked)
    await asyncio.sleep(2)
    assert world.writes(since) == []


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget"])
async def test_a_deleted_child_comes_back(world: World, kind: str) -> None:
    world.apply(voicemodel())
    await world.ready()
    uid = (await world.have(kind, "narrator"))["metadata"]["uid"]
    world.kubectl("delete", kind, "narrator", "--wait=false")

    async def back() -> bool:
        found = await world.get(kind, "narrator")
        return found is not None and found["metadata"]["uid"] != uid

    await world.until(f"{kind} is back", back)
    await world.ready()


async def test_a_deleted_claim_and_its_job_come_back(world: World) -> None:
    world.apply(voicemodel())
    await world.ready()
    uid = (await world.have("PersistentVolumeClaim", "narrator-store"))["metadata"]["uid"]
    world.kubectl("delete", "pvc", "narrator-store", "--wait=false")

    async def back() -> bool:
        found = await world.get("PersistentVolumeClaim", "narrator-store")
        return found is not None and found["metadata"]["uid"] != uid

    await world.until("the claim is back", back)
    await world.ready()
    (job,) = await world.cluster.list("Job", world.namespace)
    world.kubectl("delete", "job", job["metadata"]["name"], "--wait=false")

    async def job_back() -> bool:
        jobs = await world.cluster.list("Job", world.namespace)
        return len(jobs) == 1 and jobs[0]["metadata"]["uid"] != job["metadata"]["uid"]

    await world.until("the job is back", job_back)
    await world.ready()


EDITS: dict[str, tuple[str, Any]] = {
    "replicas": ("deployment", {"spec": {"replicas": 4}}),
    "image": ("deployment", [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil"}]),
    "owner": ("deployment", [{"op": "remove", "path": "/metadata/ownerReferences"}]),
    "label": ("service", [{"op": "remove", "path": "/metadata/labels/app.kubernetes.io~1managed-by"}]),
    "selector": ("service", {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}}),
    "port": ("service", [{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]),
    "volume": (
        "deployment",
        [
            {
                "op": "replace",
                "path": "/spec/template/spec/volumes/1",
                "value": {"name": "tmp", "hostPath": {"path": "/"}},
            }
        ],
    ),
    "budget": ("poddisruptionbudget", {"spec": {"maxUnavailable": 5}}),
}
WATCHED = {
    "deployment": ("Deployment", ["spec"]),
    "service": ("Service", ["spec"]),
    "poddisruptionbudget": ("PodDisruptionBudget", ["spec"]),
}


async def test_every_hand_edit_is_undone(world: World) -> None:
    world.apply(voicemodel())
    await world.ready()
    deployment = await world.have("Deployment", "narrator")
    volumes = [volume["name"] for volume in deployment["spec"]["template"]["spec"]["volumes"]]
    EDITS["volume"][1][0]["path"] = f"/spec/template/spec/volumes/{volumes.index('tmp')}"
    for what, (resource, patch) in EDITS.items():
        kind = WATCHED[resource][0]
        before = await world.have(kind, "narrator")
        world.patch(resource, "narrator", patch)

        async def undone(kind: str = kind, before: dict[str, Any] = before) -> bool:
            live = await world.have(kind, "narrator")
            same = live["spec"] == before["spec"]
            for name in ("labels", "ownerReferences"):
                same = same and live["metadata"].get(name) == before["metadata"].get(name)
            managers = {entry["manager"] for entry in live["metadata"]["managedFields"]}
            return same and "voxraga-operator-repair" not in managers

        await world.until(f"the edit of {what} is undone", undone)
    await world.ready()


async def test_two_sources_are_refused_by_the_api_server(world: World) -> None:
    both = voicemodel(source={"builtin": {"name": "demo"}, "catalog": {"name": "tts_models/en/vctk/vits"}})
    with pytest.raises(RuntimeError, match="exactly one"):
        world.apply(both)


async def test_a_missing_storage_class_is_told_and_recovers_when_corrected_or_made(world: World) -> None:
    world.apply(voicemodel(store={"storageClassName": "nowhere"}))
    condition = await world.reason("ModelStored", "StorageClassNotFound")
    assert "nowhere" in condition["message"]
    world.apply(voicemodel(store={"storageClassName": "standard"}))
    await world.ready()


async def test_a_failed_fetch_is_told_and_recovers_when_corrected(world: World) -> None:
    world.fetch_says = {
        "outcome": "Failed",
        "reason": "ChecksumMismatch",
        "message": "model.pth is 3f1c, expected 9ab2",
        "retriable": False,
    }
    files = [{"path": "model.pth", "url": "https://x.example/model.pth", "sha256": "0" * 64}]
    world.apply(voicemodel(source={"http": {"files": files}}))
    condition = await world.reason("ModelStored", "ChecksumMismatch")
    assert "9ab2" in condition["message"]
    world.fetch_says = {**World(world.plane, world.cluster, "").fetch_says}
    world.apply(voicemodel(source={"http": {"files": [{**files[0], "sha256": "1" * 64}]}}))
    await world.ready()


async def test_a_missing_secret_is_told_and_its_content_never_read(world: World) -> None:
    source = {"huggingFace": {"repo": "a/b", "secretRef": {"name": "hub"}}}
    world.apply(voicemodel(source=source))

    async def told() -> bool:
        return "hub" in (await world.condition("ModelStored")).get("message", "")

    await world.until("the missing secret is named", told)
    world.kubectl("create", "secret", "generic", "hub", "--from-literal=token=s3cret")
    world.kubectl("annotate", "voicemodel", "narrator", "look=again")
    await world.ready()


async def test_missing_keys_are_told_and_the_pods_start_once_they_are_there(world: World) -> None:
    world.servers_start = False  # as a kubelet that can't mount the volume
    world.apply(voicemodel(access={"apiKeys": {"secretName": "keys"}}))
    condition = await world.reason("Ready", "SecretNotFound")
    assert "Secret keys" in condition["message"]
    await world.reason("Stalled", "SecretNotFound")
    world.kubectl("create", "secret", "generic", "keys", "--from-literal=team=abc")
    world.kubectl("annotate", "voicemodel", "narrator", "look=again")
    world.servers_start = True
    await world.ready()
    (container,) = (await world.have("Deployment", "narrator"))["spec"]["template"]["spec"]["containers"]
    assert "abc" not in json.dumps(container), "keys are never in the environment"


async def test_the_example_with_every_field_comes_up_and_then_nothing_is_written(
    world: World, operator: Process
) -> None:
    spec = yaml.safe_load((ROOT / "manifests" / "examples" / "shared-service.yaml").read_text())["spec"]
    world.kubectl("create", "secret", "generic", "shared-voice-keys", "--from-literal=team=abc")
    world.apply(voicemodel(**{**spec, "device": {"type": "CPU"}}))  # no node here has a GPU
    await world.ready()
    service = await world.have("Service", "narrator")
    assert [(port["name"], port["port"]) for port in service["spec"]["ports"]] == [("http", 80), ("wyoming", 10300)]
    since, looks = await world.quiet(), operator.metric("voxraga_operator_reconcile_total")
    world.kubectl("annotate", "voicemodel", "narrator", "look=again")

    async def looked() -> bool:
        return operator.metric("voxraga_operator_reconcile_total") > looks

    await world.until("it was looked at again", looked)
    assert world.writes(since) == []
    off = {**spec, "device": {"type": "CPU"}, "serving": {}, "access": {}, "precision": "float32"}
    world.apply(voicemodel(**off))
    await world.ready()
    service = await world.have("Service", "narrator")
    assert [port["name"] for port in service["spec"]["ports"]] == ["http"]
    pod = (await world.have("Deployment", "narrator"))["spec"]["template"]["spec"]
    assert sorted(volume["name"] for volume in pod["volumes"]) == ["store", "tmp"]


async def test_a_model_that_hears(world: World) -> None:
    hears = {"name": "someone/ear", "architecture": "whisper", "sampleRate": 16000, "languages": ["en"], "voices": []}
    world.fetch_says = {**world.fetch_says, "model": hears}
    world.apply(voicemodel(task="SpeechToText", source={"huggingFace": {"repo": "someone/ear"}}))
    ready = await world.ready()
    assert ready["status"]["model"]["architecture"] == "whisper"
    wide = world.kubectl("get", "voicemodel", "narrator", "-o", "wide")
    assert "SpeechToText" in wide


async def test_deleting_leaves_nothing_but_a_retained_claim(world: World) -> None:
    world.apply(voicemodel(store={"deletionPolicy": "Retain"}))
    await world.ready()
    world.kubectl("delete", "voicemodel", "narrator", "--wait=false")

    async def left() -> bool:
        kinds = ("Deployment", "Service", "PodDisruptionBudget", "Job", "Pod", "VoiceModel")
        found = [each for kind in kinds for each in await world.cluster.list(kind, world.namespace)]
        return not found

    await world.until("all but the claim is gone", left)
    claim = await world.have("PersistentVolumeClaim", "narrator-store")
    assert "deletionTimestamp" not in claim["metadata"]
    world.apply(voicemodel(store={"deletionPolicy": "Delete"}))
    await world.ready()
    assert (await world.have("PersistentVolumeClaim", "narrator-store"))["metadata"]["uid"] == claim["metadata"]["uid"]
    world.kubectl("delete", "voicemodel", "narrator", "--wait=false")
    await world.until("the claim is gone too", lambda: gone(world, "PersistentVolumeClaim", "narrator-store"))


async def test_the_autoscaler_owns_the_count_from_the_handover_on(world: World) -> None:
    world.apply(voicemodel(replicas=2))
    await world.ready()
    world.apply(voicemodel(replicas=2, autoscaling={"minReplicas": 1, "maxReplicas": 5}))

    async def handed_over() -> bool:
        return await world.get("HorizontalPodAutoscaler", "narrator") is not None

    await world.until("there is an autoscaler", handed_over)
    deployment = await world.have("Deployment", "narrator")
    assert deployment["spec"]["replicas"] == 2  # not reset to 1
    world.kubectl("scale", "deployment", "narrator", "--replicas=4")  # as the autoscaler does
    await asyncio.sleep(2)
    assert (await world.have("Deployment", "narrator"))["spec"]["replicas"] == 4
    world.apply(voicemodel(replicas=3))

    async def ours_again() -> bool:
        replicas = (await world.have("Deployment", "narrator"))["spec"]["replicas"]
        return bool(replicas == 3) and await gone(world, "HorizontalPodAutoscaler", "narrator")

    await world.until("spec.replicas counts again", ours_again)


async def test_kubectl_scale_scales_the_voicemodel(world: World) -> None:
    world.apply(voicemodel())
    await world.ready()
    world.kubectl("scale", "voicemodel", "narrator", "--replicas=3")

    async def scaled() -> bool:
        return (await world.have("VoiceModel", "narrator"))["status"].get("ready") == "3/3"

    await world.until("three pods are ready", scaled)


async def test_a_stranger_under_our_name_is_left_alone_and_told(world: World) -> None:
    world.kubectl("create", "service", "clusterip", "narrator", "--tcp=80:80")
    world.apply(voicemodel())
    condition = await world.reason("Ready", "NameConflict")
    assert "Service narrator" in condition["message"]
    stranger = await world.have("Service", "narrator")
    assert "ownerReferences" not in stranger["metadata"]
    world.kubectl("delete", "service", "narrator")
    world.kubectl("annotate", "voicemodel", "narrator", "look=again")
    await world.ready()


async def test_a_quota_that_refuses_a_child_is_told_and_recovers(world: World) -> None:
    world.kubectl("create", "quota", "tight", "--hard=services=0")

    async def counted() -> bool:
        return "hard" in json.loads(world.kubectl("get", "quota", "tight", "-o", "json")).get("status", {})

    await world.until("the quota is counted", counted)
    world.apply(voicemodel())
    condition = await world.reason("Stalled", "ApplyRefused")
    assert "Service narrator" in condition["message"]
    assert "exceeded quota" in condition["message"]
    world.kubectl("delete", "quota", "tight")
    world.kubectl("annotate", "voicemodel", "narrator", "look=again")
    await world.ready()
