"""The claim of the model store: made, kept, grown, replaced, released, or not made, with a reason."""

from typing import Any

import pytest

from tests.operator.plan.world import World, serving, voicemodel

SLOW = {"metadata": {"name": "slow"}}


def test_a_retained_claim_has_no_owner_and_a_claim_to_delete_has_one() -> None:
    for policy, owned in (("Retain", False), ("Delete", True)):
        world = World(model=voicemodel(store={"deletionPolicy": policy}))
        world.settle()
        metadata = world.found("PersistentVolumeClaim", "narrator-store")["metadata"]
        assert ("ownerReferences" in metadata) is owned
        assert metadata["labels"]["app.kubernetes.io/component"] == "store"


def test_the_deletion_policy_may_change() -> None:
    world = serving(store={"deletionPolicy": "Delete"})
    world.change(store={"deletionPolicy": "Retain"})
    world.settle()
    assert "ownerReferences" not in world.found("PersistentVolumeClaim", "narrator-store")["metadata"]


@pytest.mark.parametrize(
    ("store", "classes", "reason", "told"),
    [
        (
            {"storageClassName": "fast"},
            [SLOW],
            "StorageClassNotFound",
            ["spec.store.storageClassName", "fast", "slow"],
        ),
        ({}, [SLOW], "NoDefaultStorageClass", ["spec.store.storageClassName", "slow"]),
        ({}, [], "NoDefaultStorageClass", ["none"]),
    ],
)
def test_without_a_storage_class_there_is_no_claim(
    store: dict[str, Any], classes: list[Any], reason: str, told: list[str]
) -> None:
    world = World(model=voicemodel(store=store), storage_classes=classes)
    events = world.settle()
    assert world.find("PersistentVolumeClaim", "narrator-store") is None
    assert world.says("ModelStored") == ("False", reason)
    assert world.says("Ready") == ("False", reason)
    assert world.says("Stalled") == ("True", reason)
    assert world.model.status["phase"] == "Failed"
    assert all(word in world.condition("Stalled")["message"] for word in told)
    assert [(event.type, event.reason) for event in events] == [("Warning", reason)]
    assert world.plan().requeue_after is not None, "no event tells of a new StorageClass"


def test_a_corrected_storage_class_is_all_it_takes() -> None:
    world = World(model=voicemodel(store={"storageClassName": "fast"}))
    world.settle()
    world.change(store={"storageClassName": "standard"})
    world.settle()
    assert world.says("ModelStored") == ("False", "Fetching")
    assert world.says("Stalled")[0] == "False"


def test_a_claim_that_was_never_bound_is_replaced() -> None:
    world = World(model=voicemodel(store={"size": "1Gi"}))
    world.settle()
    world.found("PersistentVolumeClaim", "narrator-store")["metadata"]["resourceVersion"] = "7"
    world.change(store={"size": "2Gi"})
    planned = world.reconcile()
    assert [(each.kind, each.resource_version) for each in planned.delete] == [("PersistentVolumeClaim", "7")]
    world.settle()
    claim = world.found("PersistentVolumeClaim", "narrator-store")
    assert claim["spec"]["resources"]["requests"] == {"storage": "2Gi"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"storageClassName": "slow"}, "storageClassName is slow, the claim's standard"),
        ({"accessMode": "ReadWriteMany"}, "accessMode is ReadWriteMany, the claim's ReadWriteOnce"),
    ],
)
def test_a_bound_claim_stays_and_the_status_says_so(change: dict[str, Any], told: str) -> None:
    world = serving()
    world.storage_classes.append(SLOW)
    before = world.found("PersistentVolumeClaim", "narrator-store")["spec"]
    world.change(store=change)
    world.settle()
    world.roll_out()
    world.settle()
    after = world.found("PersistentVolumeClaim", "narrator-store")["spec"]
    assert after["accessModes"] == before["accessModes"]
    assert after.get("storageClassName", "standard") == "standard"
    assert world.says("Degraded") == ("True", "StoreImmutable")
    assert told in world.condition("Degraded")["message"]
    assert world.says("Ready") == ("True", "Serving")


def test_a_store_grows_where_its_class_lets_it() -> None:
    world = serving(store={"size": "1Gi"})
    world.change(store={"size": "2Gi"})
    world.settle()
    claim = world.found("PersistentVolumeClaim", "narrator-store")
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert world.says("Degraded")[0] == "False"


def test_a_store_that_cannot_grow_keeps_its_size_and_says_so() -> None:
    world = serving(store={"size": "1Gi"})
    world.storage_classes = [{"metadata": {"name": "standard"}}]
    world.change(store={"size": "2Gi"})
    world.settle()
    claim = world.found("PersistentVolumeClaim", "narrator-store")
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert "can't expand" in world.condition("Degraded")["message"]


def test_the_class_that_the_cluster_chose_is_not_made_ours() -> None:
    """Applying it would take its ownership over: one write more, for nothing."""
    world = serving()
    planned = world.plan()
    claim = next(each for each in planned.apply if each["kind"] == "PersistentVolumeClaim")
    assert "storageClassName" not in claim["spec"]


def test_an_existing_claim_is_used_as_it_is() -> None:
    world = World(model=voicemodel(store={"existingClaim": "shelf"}))
    world.settle()
    assert world.says("Stalled") == ("True", "ClaimNotFound")
    shelf = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shelf", "uid": "uid-shelf"},
        "spec": {"accessModes": ["ReadWriteMany"]},
    }
    world.objects["PersistentVolumeClaim", "shelf"] = shelf
    world.settle()
    assert world.found("PersistentVolumeClaim", "shelf") is shelf, "it is neither applied nor deleted"
    assert "podAffinity" not in world.job()["spec"]["template"]["spec"]["affinity"], "pods may be on any node"


def test_a_claim_that_is_being_deleted_is_let_go_and_made_anew() -> None:
    world = serving()
    claim = world.found("PersistentVolumeClaim", "narrator-store")
    claim["metadata"]["deletionTimestamp"] = "2026-05-04T12:00:00Z"
    planned = world.reconcile()
    assert sorted(each.kind for each in planned.delete) == ["Deployment", "Job"]
    assert world.says("ModelStored") == ("False", "ClaimTerminating")
    del world.objects["PersistentVolumeClaim", "narrator-store"]
    world.pods = []
    world.settle()
    assert world.says("ModelStored") == ("False", "Fetching")


def test_what_was_stored_in_another_claim_is_fetched_again() -> None:
    world = serving()
    world.found("PersistentVolumeClaim", "narrator-store")["metadata"]["uid"] = "another"
    world.pods = []
    world.settle()
    assert world.says("ModelStored") == ("False", "Fetching")
    assert world.job()["metadata"]["annotations"]["voxraga.io/claim-uid"] == "another"
