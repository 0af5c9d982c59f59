"""A VoiceModel from nothing to speech, to another model, and to nothing again."""

from datetime import timedelta

import pytest

from tests.operator.plan.world import NOW, OTHER, World, serving, stored, voicemodel
from voxraga_operator.api.status import VoiceModelStatus
from voxraga_operator.plan import HANDOVER_FIELD_MANAGER, labels
from voxraga_operator.plan.types import Event


def reasons(events: list[Event]) -> list[str]:
    return [event.reason for event in events]


def test_from_nothing_to_speech() -> None:
    world = World()
    assert reasons(world.settle()) == ["StoreCreated", "Fetching"]
    assert sorted(kind for kind, _ in world.objects) == ["Job", "PersistentVolumeClaim", "Service"]
    assert world.says("ModelStored") == ("False", "Fetching")
    assert world.model.status["phase"] == "Storing"

    world.bind()
    world.fetched()
    told = world.settle()
    assert reasons(told) == ["ModelStored", "Starting"]
    assert told[0].message == "demo: downloaded 9.3 MB, sha256:1f0e"
    assert world.found("Deployment")["spec"]["replicas"] == 1
    assert world.model.status["phase"] == "Starting"
    assert world.model.status["ready"] == "0/1"

    world.roll_out()
    told = world.settle()
    assert reasons(told) == ["Ready"]
    assert told[0].message == "serving at http://narrator.voices.svc.cluster.local"
    status = world.model.status
    assert (status["phase"], status["ready"], status["url"]) == (
        "Ready",
        "1/1",
        "http://narrator.voices.svc.cluster.local",
    )
    assert status["model"]["voices"] == ["rms", "slt"]
    assert world.says("Reconciling") == ("False", "Done")
    assert world.says("Stalled") == ("False", "Progressing")


def test_at_rest_nothing_is_left_to_do() -> None:
    world = serving()
    before = world.model.status
    world.pass_time(timedelta(hours=1))
    planned = world.reconcile()
    assert planned.status == before
    assert (planned.events, planned.delete, planned.handover, planned.requeue_after) == ((), (), (), None)


def test_the_status_fits_its_schema() -> None:
    status = serving(autoscaling={"maxReplicas": 3}).model.status
    assert VoiceModelStatus.model_validate(status).to_json() == status


def test_the_earlier_model_is_served_until_the_next_one_is_stored() -> None:
    world = serving()
    template = world.found("Deployment")["spec"]["template"]
    first_key = world.job()["metadata"]["labels"][labels.KEY]

    world.change(source=OTHER, replicas=2, serving={"defaults": {"voice": "p225"}})
    world.settle()
    assert world.found("Deployment")["spec"]["template"] == template, "its pods stay as they are"
    assert world.found("Deployment")["spec"]["replicas"] == 2, "their number follows the spec"
    assert world.says("Ready") == ("False", "Fetching")
    assert "the earlier model is still served" in world.condition("Ready")["message"]
    assert world.model.status["model"]["name"] == "demo", "the status tells of what is stored"
    keep = {each["name"]: each["value"] for each in world.job()["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert keep["VOXRAGA_KEEP"] == f'["{first_key}"]', "the fetch leaves what is served in the store"

    world.fetched({"outcome": "Published", "digest": "sha256:2", "bytes": 5, "model": {"name": "vits"}})
    world.settle()
    assert world.found("Deployment")["spec"]["template"] != template
    assert world.model.status["model"]["name"] == "vits"
    assert len([kind for kind, _ in world.objects if kind == "Job"]) == 2, "the way back is open until it is rolled out"

    world.roll_out()
    world.settle()
    assert world.model.status["phase"] == "Ready"
    assert [name for kind, name in world.objects if kind == "Job"] == [world.job()["metadata"]["name"]]


def test_going_back_to_the_served_model_fetches_nothing() -> None:
    world = serving()
    world.change(source=OTHER)
    world.settle()
    world.change(source={"builtin": {"name": "demo"}})
    world.settle()
    assert world.says("ModelStored") == ("True", "Stored")
    assert world.model.status["phase"] == "Ready"
    assert len([kind for kind, _ in world.objects if kind == "Job"]) == 1, "the other fetch was stopped"


def test_one_fetch_at_a_time() -> None:
    """The end of a fetch cleans up the store: another one's files would be gone."""
    world = serving()
    world.change(source=OTHER)
    world.settle()
    pod = world.fetch_pod(phase="Running")
    world.change(source={"catalog": {"name": "tts_models/en/ljspeech/vits"}})
    world.settle()
    assert [name for kind, name in world.objects if kind == "Job"] == [world.job(0)["metadata"]["name"]]
    assert world.says("ModelStored") == ("False", "WaitingForFetch")
    pod["status"]["phase"] = "Failed"
    world.settle()
    assert world.says("ModelStored") == ("False", "Fetching")


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Job"])
def test_a_deleted_child_is_planned_again(kind: str) -> None:
    world = serving(autoscaling={"maxReplicas": 3})
    place = next(place for place in world.objects if place[0] == kind)
    before = world.objects.pop(place)
    world.settle()
    assert world.objects[place]["spec"] == before["spec"] or kind == "Deployment"
    assert world.says("ModelStored") == ("True", "Stored"), "a model that was stored stays stored"


def test_a_model_that_loses_its_job_stays_ready() -> None:
    world = serving()
    del world.objects["Job", world.job()["metadata"]["name"]]
    world.pods = [pod for pod in world.pods if "pod-template-hash" in pod["metadata"]["labels"]]
    assert world.settle() == []
    assert world.says("Ready") == ("True", "Serving")
    assert world.model.status["model"]["digest"] == "sha256:1f0e"


def test_scaled_to_nothing() -> None:
    world = serving()
    world.change(replicas=0)
    world.settle()
    world.roll_out()
    world.settle()
    assert world.says("Ready") == ("False", "ScaledToZero")
    assert world.says("Reconciling") == ("False", "Done")
    assert (world.model.status["phase"], world.model.status["ready"]) == ("Idle", "0/0")


def test_nothing_is_planned_for_a_voicemodel_that_is_being_deleted() -> None:
    world = serving()
    metadata = world.model.metadata.model_copy(update={"deletion_timestamp": "2026-05-04T12:00:00Z"})
    world.model = world.model.model_copy(update={"metadata": metadata})
    planned = world.plan()
    assert (planned.apply, planned.delete, planned.status) == ((), (), None)


def test_ready_is_lost_between_a_change_and_its_rollout() -> None:
    """The Deployment that is there is complete, but it is not yet the one that is wanted."""
    world = serving()
    world.change(serving={"queueDepth": 7})
    world.reconcile()
    assert world.says("Ready") == ("False", "RollingOut")
    world.roll_out()
    world.settle()
    assert world.says("Ready") == ("True", "Serving")


def test_times_stand_still_while_a_status_does() -> None:
    world = World(model=voicemodel())
    world.settle()
    first = world.condition("Ready")["lastTransitionTime"]
    world.pass_time(timedelta(minutes=1))
    world.bind()
    world.fetched()
    world.settle()
    assert world.condition("Ready")["reason"] == "Starting"
    assert world.condition("Ready")["lastTransitionTime"] == first == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    world.roll_out()
    world.settle()
    assert world.condition("Ready")["lastTransitionTime"] == "2026-05-04T12:01:00Z"


def test_a_manager_of_its_own_takes_over_what_is_let_go() -> None:
    assert HANDOVER_FIELD_MANAGER == "voxraga-operator-handover"
    world = stored(replicas=3)
    world.change(autoscaling={"minReplicas": 2, "maxReplicas": 5})
    planned = world.reconcile()
    assert [each["spec"] for each in planned.handover] == [{"replicas": 3}]
    assert "replicas" not in next(each for each in planned.apply if each["kind"] == "Deployment")["spec"]
    assert world.found("Deployment")["spec"]["replicas"] == 3
    assert world.reconcile().handover == ()
