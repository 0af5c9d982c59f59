"""What is planned without a cluster is what a cluster gets."""

from typing import Any

import pytest
import yaml

from tests.operator.cli.files import EXAMPLES, made
from tests.operator.plan.world import World
from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.cli.failure import Failure
from voxraga_operator.cli.planned import UID, planned
from voxraga_operator.cli.schema import admit
from voxraga_operator.settings import OperatorSettings

PATHS = sorted(EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_the_pods_are_those_of_a_cluster(path: Any) -> None:
    """The operator's own test world, which plays a cluster in full, ends up with the same pods."""
    raw = admit(yaml.safe_load(path.read_text())).document
    here = planned(raw, OperatorSettings())
    model = VoiceModel.model_validate({**raw, "metadata": {**raw["metadata"], "uid": UID}})
    world = World(model=model, source_claim=True)
    world.secrets = {"house-voice-download": True, "shared-voice-keys": True}
    world.settle()
    world.bind()
    world.settle()
    world.fetched()
    world.settle()
    kinds = [each["kind"] for each in here.objects]
    assert sorted(kinds) == sorted(kind for kind, _ in world.objects)
    for mine in (here.job, here.deployment):
        theirs = world.found(mine["kind"], mine["metadata"]["name"])
        assert mine["spec"] == theirs["spec"]
        assert mine["metadata"]["labels"] == theirs["metadata"]["labels"]


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 0},
        {"store": {"existingClaim": "mine"}},
        {"store": {"storageClassName": "fast"}},
        {"device": {"type": "GPU", "gpu": {"products": ["NVIDIA-L4"]}}},
        {"autoscaling": {"maxReplicas": 3}},
        {"source": {"huggingFace": {"repo": "a/b", "secretRef": {"name": "hub"}}}},
    ],
)
def test_a_cluster_that_has_it_all_is_taken_for_granted(spec: dict[str, Any]) -> None:
    assert made(**spec).deployment["spec"]["template"]["spec"]["containers"][0]["args"] == ["serve"]


def test_where_nothing_is_planned_the_plan_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxraga_operator.cli import planned as module  # noqa: PLC0415 - to take its cluster away

    monkeypatch.setattr(module, "_storage_class", lambda _: {"metadata": {"name": "other"}})
    with pytest.raises(Failure, match="no default StorageClass"):
        made()
