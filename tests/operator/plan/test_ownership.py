"""Which fields of a live object are ours, and whose an object is."""

from typing import Any

import pytest

from tests.operator.plan.world import managed_fields, voicemodel
from voxraga_operator.plan import labels
from voxraga_operator.plan.ownership import Owner, applied, owner, owns
from voxraga_operator.plan.pods import cause

OURS = {"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "server", "args": ["serve"]}]}}
LIVE: dict[str, Any] = {
    "metadata": {"labels": {"a": "1", "theirs": "2"}, "finalizers": ["x/ours", "x/theirs"]},
    "spec": {
        "containers": [{"name": "server", "args": ["serve"], "tty": True}, {"name": "sidecar"}],
        "dnsPolicy": "ClusterFirst",
    },
}


def live() -> dict[str, Any]:
    fields = managed_fields(OURS)
    fields[0]["fieldsV1"]["f:metadata"]["f:finalizers"] = {'v:"x/ours"': {}}
    return {**LIVE, "metadata": {**LIVE["metadata"], "managedFields": fields}}


def test_what_we_applied_is_told_from_what_was_added() -> None:
    assert applied(live(), "spec") == OURS["spec"]
    assert applied(live(), "metadata", "labels") == {"a": "1"}
    assert applied(live(), "metadata", "finalizers") == ["x/ours"]


def test_what_is_not_ours_is_not_told() -> None:
    assert applied(live(), "status") is None
    assert applied(LIVE, "spec") is None
    assert owns(live(), "spec", "containers")
    assert not owns(live(), "spec", "dnsPolicy")


OWN_LABELS = {labels.MANAGED_BY: labels.MANAGER, labels.INSTANCE: "narrator"}


@pytest.mark.parametrize(
    ("metadata", "whose"),
    [
        ({}, Owner.OTHER),
        ({"labels": OWN_LABELS}, Owner.US),
        ({"labels": {**OWN_LABELS, labels.INSTANCE: "other"}}, Owner.OTHER),
        ({"managedFields": managed_fields(OURS)}, Owner.US),
        ({"ownerReferences": [{"controller": True, "uid": "uid-narrator"}]}, Owner.US),
        ({"ownerReferences": [{"controller": True, "uid": "x", "kind": "App"}], "labels": OWN_LABELS}, Owner.OTHER),
        (
            {"ownerReferences": [{"controller": True, "uid": "x", "kind": "VoiceModel", "name": "narrator"}]},
            Owner.EARLIER,
        ),
        ({"ownerReferences": [{"uid": "x"}], "labels": OWN_LABELS}, Owner.US),
    ],
)
def test_whose_an_object_is(metadata: dict[str, Any], whose: Owner) -> None:
    assert owner({"metadata": metadata}, voicemodel()) is whose


def test_a_claims_name_that_is_too_long_for_a_label() -> None:
    first, second = labels.store_value("a" * 64), labels.store_value("a" * 65)
    assert first != second
    assert max(len(first), len(second)) <= 63
    assert labels.store_value("shelf") == "shelf"


def test_a_pod_that_its_node_gave_up() -> None:
    found = cause({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on disk"}}, {})
    assert found is not None
    assert (found.reason, found.message) == ("Evicted", "low on disk")
