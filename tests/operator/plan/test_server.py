"""The server pods: what their state means for Ready, Degraded and Stalled, and who decides how many there are."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.operator.plan.world import OTHER, World, serving, stored, unschedulable, voicemodel, waiting
from voxraga_operator.plan.ownership import owns
from voxraga_operator.plan.types import Manifest

CRASH = {"exitCode": 1, "message": json.dumps({"reason": "WarmupFailed", "message": "the voice is silent"})}
TOO_BIG = {"exitCode": 137, "reason": "OOMKilled"}
BARE = {"exitCode": 3, "message": "Killed"}


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (waiting("CrashLoopBackOff", "back-off 10s", CRASH), "WarmupFailed", "the voice is silent"),
        (waiting("CrashLoopBackOff", "back-off 20s", TOO_BIG), "OOMKilled", "its limit 4Gi"),
        (waiting("CrashLoopBackOff", "", BARE), "ContainerFailed", "exit code 3: Killed"),
        (waiting("ImagePullBackOff", "Back-off"), "ImagePullFailed", "image voices/server:1"),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), "CreateContainerConfigError", 'secret "x"'),
        (unschedulable("Insufficient cpu"), "Unschedulable", "Insufficient cpu"),
    ],
)
def test_why_a_pod_does_not_run_is_why_the_model_is_not_ready(status: Manifest, reason: str, message: str) -> None:
    world = stored()
    world.roll_out(ready=0)
    world.pods.pop()
    world.server_pod(ready=False, **status)
    events = world.settle()
    assert world.says("Ready") == ("False", reason)
    assert message in world.condition("Ready")["message"]
    assert [(event.type, event.reason) for event in events] == [("Warning", reason)]
    assert world.model.status["phase"] == ("Pending" if reason == "Unschedulable" else "Failed")
    assert world.says("Reconciling") == ("True", reason)


HELD_UP = [{"type": "PodScheduled", "status": "True"}, {"type": "PodReadyToStartContainers", "status": "False"}]
STARTING = {**waiting("ContainerCreating"), "conditions": HELD_UP}
NO_SECRET = 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found'


def warning(reason: str = "FailedMount", message: str = NO_SECRET, count: int = 5, at: str = "") -> Manifest:
    return {"reason": reason, "message": message, "count": count, "lastTimestamp": at or "2026-05-04T12:02:00Z"}


@pytest.mark.parametrize(
    ("status", "warnings", "reason", "message"),
    [
        (STARTING, [warning()], "FailedMount", 'secret "keys" not found'),
        (STARTING, [warning(count=1, message="older"), warning()], "FailedMount", NO_SECRET),
        (STARTING, [warning(at="2026-05-04T12:01:00Z"), warning(message="timed out")], "FailedMount", "timed out"),
        (STARTING, [warning("FailedCreatePodSandBox", "no network")], "FailedCreatePodSandBox", "no network"),
        (STARTING, [warning(count=2)], "Starting", "are starting"),
        (STARTING, [warning("Unhealthy", "probe failed")], "Starting", "are starting"),
        (waiting("ContainerCreating") | {"conditions": [HELD_UP[0], HELD_UP[1] | {"status": "True"}]}, [warning()],
         "Starting", "are starting"),
    ],
    ids=["mount", "lasting", "newest", "network", "hiccup", "another", "over"],
)  # fmt: skip
def test_a_pod_that_its_node_can_not_start_says_what_for(
    status: Manifest, warnings: list[Manifest], reason: str, message: str
) -> None:
    world = stored()
    world.roll_out(ready=0)
    world.pods.pop()
    world.server_pod(ready=False, **status)["metadata"]["uid"] = "uid-held-up"
    world.warnings = {"uid-held-up": tuple(warnings)}
    world.settle()
    assert world.says("Ready") == ("False", reason)
    assert message in world.condition("Ready")["message"]
    held = status["conditions"] is HELD_UP
    assert (world.plan().requeue_after is not None) == held  # no event will tell of what the node does next


KEYS = {"apiKeys": {"secretName": "keys"}}


def test_missing_keys_are_named_and_waited_for() -> None:
    world = stored(access=KEYS)
    world.roll_out(ready=0)
    world.settle()
    assert world.says("Ready") == ("False", "SecretNotFound")
    assert world.says("Stalled") == ("True", "SecretNotFound")
    assert "spec.access.apiKeys.secretName names Secret keys" in world.condition("Ready")["message"]
    assert world.model.status["phase"] == "Failed"
    assert world.plan().requeue_after == timedelta(seconds=30), "no event tells that it is there"
    world.secrets = {"keys": True}
    world.settle()
    assert world.says("Ready") == ("False", "Starting")
    assert world.plan().requeue_after is None
    world.roll_out()
    world.settle()
    assert world.says("Ready") == ("True", "Serving")
    assert world.says("Stalled")[0] == "False"


def test_keys_that_go_missing_stop_no_pod_that_runs() -> None:
    world = stored(access=KEYS)
    world.secrets = {"keys": True}
    world.roll_out()
    world.settle()
    world.secrets = {}
    world.settle()
    assert world.says("Ready") == ("True", "Serving")
    assert world.says("Degraded") == ("True", "SecretNotFound")
    assert world.says("Stalled")[0] == "False"


def test_pods_without_the_keys_that_are_asked_for_serve_on() -> None:
    """A rollout that surges: nothing is served anew before the Secret is there, and what is served is not as wished."""
    world = serving()
    world.change(access=KEYS)
    world.settle()
    assert world.says("Ready") == ("False", "SecretNotFound")
    assert world.says("Degraded") == ("True", "SecretNotFound")
    assert world.model.status["phase"] == "Degraded"


def test_scaled_to_zero_nothing_has_to_be_done_about_keys() -> None:
    world = stored(access=KEYS, replicas=0)
    assert world.says("Ready") == ("False", "ScaledToZero")
    assert world.says("Stalled")[0] == "False"


@pytest.mark.parametrize(("task", "proof"), [("TextToSpeech", "speak"), ("SpeechToText", "listen")])
def test_a_start_ends_with_a_proof(task: str, proof: str) -> None:
    world = stored(task=task, source={"huggingFace": {"repo": "a/b"}})
    world.roll_out(ready=0)
    world.settle()
    assert f"load the model and {proof}" in world.condition("Ready")["message"]


def test_a_ready_model_whose_pods_crash_loses_ready() -> None:
    world = serving(replicas=2)
    world.roll_out(ready=1)
    world.pods.pop()
    world.server_pod(ready=False, **waiting("CrashLoopBackOff", "back-off", CRASH))
    world.settle()
    assert world.says("Ready") == ("False", "WarmupFailed")
    assert world.says("Degraded") == ("True", "WarmupFailed")
    assert (world.model.status["phase"], world.model.status["ready"]) == ("Degraded", "1/2")


def test_a_crash_loop_changes_no_status_from_turn_to_turn() -> None:
    world = stored()
    world.roll_out(ready=0)
    turns: list[dict[str, Any]] = [
        {"state": {"terminated": CRASH}},
        {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}},
        {"state": {"running": {}}},
        {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}}},
    ]
    seen = []
    for turn in turns:
        last = {} if "terminated" in turn["state"] else {"lastState": {"terminated": CRASH}}
        world.pods[-1]["status"]["containerStatuses"] = [{"name": "server", **turn, **last}]
        world.settle()
        seen.append(world.model.status)
    assert all(status == seen[0] for status in seen)


def test_a_pull_that_fails_changes_no_status_from_turn_to_turn() -> None:
    world = stored()
    world.roll_out(ready=0)
    detail = "rpc error: not found"
    world.pods[-1]["status"] = waiting("ErrImagePull", detail)
    world.settle()
    before = world.model.status
    back_off = f'Back-off pulling image "voices/server:1": ErrImagePull: {detail}'
    world.pods[-1]["status"] = waiting("ImagePullBackOff", back_off)
    assert world.settle() == []
    assert world.model.status == before


def test_what_was_wrong_with_the_template_before_is_not_told_of_the_one_that_corrects_it() -> None:
    world = stored()
    world.roll_out(ready=0)
    world.pods[-1]["status"] = waiting("ErrImagePull", "not found")
    world.server_pod(ready=False, created=9)
    world.settle()
    assert world.says("Ready") == ("False", "Starting")


def test_a_rollout_without_progress_stalls() -> None:
    world = stored()
    world.roll_out(ready=0)
    progressing = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    world.found("Deployment")["status"]["conditions"] = [progressing]
    world.settle()
    assert world.says("Stalled") == ("True", "ProgressDeadlineExceeded")
    assert world.says("Reconciling") == ("False", "Stalled")


def test_pods_that_the_cluster_refuses() -> None:
    world = stored()
    world.roll_out(ready=0)
    world.pods.pop()
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    world.found("Deployment")["status"]["conditions"] = [failure]
    world.settle()
    assert world.says("Ready") == ("False", "PodsRefused")
    assert "exceeded quota" in world.condition("Ready")["message"]


def test_old_pods_still_serving_are_no_finished_rollout() -> None:
    world = serving(replicas=2)
    world.found("Deployment")["status"]["updatedReplicas"] = 1
    world.settle()
    assert world.says("Ready") == ("False", "RollingOut")
    assert world.model.status["phase"] == "Updating"


def test_an_earlier_model_that_is_served_while_the_next_one_fails() -> None:
    world = serving()
    world.change(source=OTHER)
    world.settle()
    world.fetch_failed("UnknownCatalogModel", "no such model", retriable=False)
    world.settle()
    assert world.says("Ready") == ("False", "UnknownCatalogModel")
    assert world.says("Degraded") == ("True", "ServingEarlierModel")
    assert world.model.status["phase"] == "Degraded"


# --- how many pods ---


def scaled(**conditions: tuple[str, str]) -> World:
    world = serving(autoscaling={"minReplicas": 2, "maxReplicas": 5})
    given = [
        {"type": kind, "status": status, "reason": reason, "message": "told"}
        for kind, (status, reason) in conditions.items()
    ]
    world.found("HorizontalPodAutoscaler")["status"] = {"conditions": given}
    return world


def test_an_autoscaler_at_work() -> None:
    world = scaled(AbleToScale=("True", "ReadyForNewScale"), ScalingActive=("True", "ValidMetricFound"))
    events = world.settle()
    assert world.says("AutoscalingActive") == ("True", "Active")
    assert [event.reason for event in events] == ["AutoscalingActive"]
    assert world.model.status["autoscaling"]["mode"] == "HorizontalPodAutoscaler"


def test_an_autoscaler_without_metrics() -> None:
    world = scaled(AbleToScale=("True", "x"), ScalingActive=("False", "FailedGetContainerResourceMetric"))
    world.settle()
    assert world.says("AutoscalingActive") == ("False", "FailedGetContainerResourceMetric")
    world.api_groups = frozenset()
    world.settle()
    assert world.says("AutoscalingActive") == ("False", "MetricsUnavailable")


def test_without_autoscaling_there_is_no_such_condition() -> None:
    assert "AutoscalingActive" not in [each["type"] for each in serving().model.status["conditions"]]


def test_a_deployment_for_an_autoscaler_starts_at_the_least() -> None:
    world = stored(autoscaling={"minReplicas": 2, "maxReplicas": 5})
    deployment = world.found("Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert not owns(deployment, "spec", "replicas"), "once it is there, its count is the autoscaler's"


def test_scaling_up_is_no_loss_of_readiness() -> None:
    world = scaled()
    deployment = world.found("Deployment")
    deployment["spec"]["replicas"] = 3
    deployment["status"] |= {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 2, "availableReplicas": 2}
    world.server_pod(ready=False, **waiting("CrashLoopBackOff", "", CRASH))
    world.settle()
    assert world.says("Ready") == ("True", "Serving")
    assert world.says("Degraded") == ("True", "WarmupFailed")
    assert world.model.status["ready"] == "2/3"


def test_removed_autoscaling_takes_the_autoscaler_away() -> None:
    world = scaled()
    world.change(autoscaling=None, replicas=1)
    world.settle()
    assert world.find("HorizontalPodAutoscaler") is None
    assert world.found("Deployment")["spec"]["replicas"] == 1
    assert world.model.status["autoscaling"]["mode"] == "Fixed"


def test_an_autoscaler_does_not_start_from_nothing() -> None:
    world = stored(replicas=0)
    world.change(autoscaling={"minReplicas": 2, "maxReplicas": 5})
    assert [each["spec"] for each in world.reconcile().handover] == [{"replicas": 2}]


# --- where it is reached ---


@pytest.mark.parametrize(
    ("service", "ingress", "url"),
    [
        ({}, [], "http://narrator.voices.svc.cluster.local"),
        ({"port": 8899}, [], "http://narrator.voices.svc.cluster.local:8899"),
        ({"type": "NodePort"}, [], "http://narrator.voices.svc.cluster.local"),
        ({"type": "LoadBalancer"}, [{"ip": "192.0.2.7"}], "http://192.0.2.7"),
        ({"type": "LoadBalancer", "port": 81}, [{"hostname": "speech.example"}], "http://speech.example:81"),
        ({"type": "LoadBalancer"}, [{"ip": "2001:db8::1"}], "http://[2001:db8::1]"),
        ({"type": "LoadBalancer"}, [], None),
    ],
)
def test_the_url(service: dict[str, Any], ingress: list[Any], url: str | None) -> None:
    world = serving(service=service)
    world.found("Service")["status"] = {"loadBalancer": {"ingress": ingress}}
    world.settle()
    assert world.model.status.get("url") == url
    assert world.says("Ready") == (("True", "Serving") if url else ("False", "AddressPending"))


# --- whose the objects are ---


@pytest.mark.parametrize("kind", ["Service", "Deployment", "PodDisruptionBudget", "PersistentVolumeClaim"])
def test_an_object_of_somebody_else_is_left_alone(kind: str) -> None:
    world = World()
    name = "narrator-store" if kind == "PersistentVolumeClaim" else "narrator"
    foreign = {"kind": kind, "metadata": {"name": name, "namespace": "voices", "uid": "x"}, "spec": {"template": {}}}
    world.objects[kind, name] = foreign
    planned = world.reconcile()
    assert (planned.apply, planned.delete) == ((), ())
    assert world.says("Stalled") == world.says("Stalled") == ("True", "NameConflict")
    assert f"{kind} {name}" in world.condition("Ready")["message"]
    assert planned.requeue_after == timedelta(seconds=30), "no event tells that it is gone"
    del world.objects[kind, name]
    world.settle()
    assert world.says("Stalled")[0] == "False"


def test_an_autoscaler_of_somebody_else_is_no_conflict_where_none_is_wanted() -> None:
    world = serving()
    foreign = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "narrator", "uid": "x"}}
    world.objects["HorizontalPodAutoscaler", "narrator"] = foreign
    assert world.reconcile().delete == ()
    assert world.says("Ready") == ("True", "Serving")


def test_children_of_an_earlier_voicemodel_of_that_name_are_waited_for() -> None:
    world = serving()
    metadata = world.model.metadata.model_copy(update={"uid": "uid-successor"})
    world.model = voicemodel().model_copy(update={"metadata": metadata})
    planned = world.reconcile()
    assert (planned.apply, planned.delete) == ((), ())
    assert world.says("Stalled") == ("False", "WaitingForCleanup")
    assert planned.requeue_after == timedelta(seconds=5)


def test_orphaned_children_are_taken_over() -> None:
    world = serving()
    for found in world.objects.values():
        found["metadata"].pop("ownerReferences", None)
    world.model = voicemodel().model_copy(
        update={"metadata": world.model.metadata.model_copy(update={"uid": "uid-successor"})}
    )
    world.settle()
    assert world.found("Service")["metadata"]["ownerReferences"][0]["uid"] == "uid-successor"


def test_nothing_is_applied_to_what_is_being_deleted() -> None:
    world = serving()
    world.found("Service")["metadata"]["deletionTimestamp"] = "2026-05-04T12:00:00Z"
    assert "Service" not in [each["kind"] for each in world.plan().apply]
