"""The fetch Job: its prerequisites, what its failures say, and when it is tried again."""

from datetime import timedelta
from typing import Any

import pytest

from tests.operator.plan.world import OTHER, World, ended, unschedulable, voicemodel, waiting

HUB = {"huggingFace": {"repo": "voices/anna", "secretRef": {"name": "hub"}}}
COPY = {"persistentVolumeClaim": {"claimName": "voices"}}


def fetching(**spec: Any) -> World:
    world = World(model=voicemodel(**spec))
    world.settle()
    world.bind()
    world.settle()
    return world


@pytest.mark.parametrize(
    ("source", "reason", "told"),
    [
        (HUB, "SecretNotFound", "spec.source.huggingFace.secretRef.name names Secret hub"),
        (COPY, "SourceClaimNotFound", "spec.source.persistentVolumeClaim.claimName names claim voices"),
    ],
)
def test_what_is_missing_is_named_and_waited_for(source: dict[str, Any], reason: str, told: str) -> None:
    world = fetching(source=source)
    assert world.says("ModelStored") == world.says("Ready") == ("False", reason)
    assert world.says("Stalled") == ("True", reason)
    assert told in world.condition("ModelStored")["message"]
    assert not [kind for kind, _ in world.objects if kind == "Job"]
    assert world.plan().requeue_after == timedelta(seconds=30)
    world.secrets, world.source_claim = {"hub": True}, True
    world.settle()
    assert world.says("ModelStored") == ("False", "Fetching")


def test_what_can_be_tried_again_is_tried_again_after_a_minute() -> None:
    world = fetching(source=OTHER)
    before = world.job()["metadata"]["uid"]
    world.fetch_failed("SourceUnreachable", "files.example does not answer", retriable=True)
    events = world.settle()
    assert [(event.type, event.reason) for event in events] == [("Warning", "SourceUnreachable")]
    assert world.condition("ModelStored")["message"] == "files.example does not answer (retrying)"
    assert world.says("Stalled")[0] == "False"
    assert world.plan().requeue_after == timedelta(seconds=60)
    world.pass_time(timedelta(seconds=59))
    world.settle()
    assert world.job()["metadata"]["uid"] == before
    world.pass_time(timedelta(seconds=1))
    world.settle()
    assert world.job()["metadata"]["uid"] != before


def test_what_cannot_succeed_is_tried_again_rarely() -> None:
    world = fetching(source=OTHER)
    world.fetch_failed("ChecksumMismatch", "model.pth is 3f1c, expected 9ab2", retriable=False)
    world.settle()
    assert world.says("Stalled") == ("True", "ChecksumMismatch")
    assert world.model.status["phase"] == "Failed"
    assert world.condition("ModelStored")["message"] == "model.pth is 3f1c, expected 9ab2 (tried again every 5 min)"
    assert world.plan().requeue_after == timedelta(minutes=5)


@pytest.mark.parametrize(("retriable", "delay"), [(True, timedelta(minutes=1)), (False, timedelta(minutes=5))])
def test_trying_again_in_vain_changes_no_status(retriable: bool, delay: timedelta) -> None:
    world = fetching(source=OTHER)
    world.fetch_failed("SourceTimeout", "too slow", retriable=retriable)
    world.settle()
    before = world.model.status
    world.pass_time(delay)
    world.reconcile()
    for step in (world.settle, lambda: world.fetch_pod(phase="Running"), world.settle):
        step()
        assert world.model.status == before
    world.pods.pop()
    world.fetch_failed("SourceTimeout", "too slow", retriable=retriable)
    assert world.settle() == []
    assert world.model.status == before


def test_a_corrected_source_is_fetched_at_once() -> None:
    world = fetching(source=OTHER)
    world.fetch_failed("UnknownCatalogModel", "no such model", retriable=False)
    world.settle()
    world.change(source={"builtin": {"name": "demo"}})
    world.settle()
    assert world.says("ModelStored") == ("False", "Fetching")
    assert world.says("Stalled")[0] == "False"
    assert len([kind for kind, _ in world.objects if kind == "Job"]) == 1


def test_a_job_whose_pods_would_differ_now_is_replaced() -> None:
    """Else a wrong image or a wrong nodeSelector would stay wrong until somebody deletes the Job."""
    world = fetching()
    before = world.job()["metadata"]["uid"]
    world.change(image={"cpu": "voices/server:2"})
    world.settle()
    assert world.job()["metadata"]["uid"] != before
    assert world.job()["spec"]["template"]["spec"]["containers"][0]["image"] == "voices/server:2"


def test_a_job_that_is_over_is_left_alone() -> None:
    world = fetching()
    world.fetched()
    world.settle()
    before = world.job()["metadata"]["uid"]
    world.change(image={"cpu": "voices/server:2"})
    world.settle()
    assert world.job()["metadata"]["uid"] == before
    assert "Job" not in [each["kind"] for each in world.plan().apply]


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (unschedulable("0/1 nodes are available"), "Unschedulable", "no node takes the pod: 0/1 nodes are available"),
        (
            waiting("ErrImagePull", "not found"),
            "ImagePullFailed",
            "image voices/server:1 can't be pulled: not found",
        ),
        (ended(137, reason="OOMKilled"), "OOMKilled", "raise spec.resources.limits.memory"),
        (ended(1, "Traceback"), "ContainerFailed", "ended with exit code 1: Traceback (retrying)"),
    ],
)
def test_what_holds_the_pod_up_is_told(status: dict[str, Any], reason: str, message: str) -> None:
    world = fetching()
    world.fetch_pod(**status)
    world.settle()
    assert world.says("ModelStored") == ("False", reason)
    assert message in world.condition("ModelStored")["message"]


def test_a_report_that_does_not_fit_spoils_nothing() -> None:
    world = fetching()
    world.fetched({"outcome": "Published", "bytes": "many", "model": {"name": "x", "voices": "p225", "sampleRate": 1}})
    world.settle()
    assert world.model.status["model"] == {"name": "x", "sampleRate": 1}
    assert world.says("ModelStored") == ("True", "Stored")


def test_a_job_without_a_report_is_enough() -> None:
    world = fetching()
    world.fetched()
    world.pods = []
    world.settle()
    assert world.model.status["model"] == {"name": "demo"}
    assert world.says("ModelStored") == ("True", "Stored")


def test_a_job_that_failed_without_a_word() -> None:
    world = fetching()
    world.give_up()
    world.settle()
    assert world.says("ModelStored") == ("False", "FetchFailed")
    assert "BackoffLimitExceeded" in world.condition("ModelStored")["message"]
