"""What is said where the API server refuses what was planned, or a VoiceModel can't be read."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.operator.plan.world import NOW, serving
from voxraga_operator.api.status import VoiceModelStatus, condition_of
from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import Refusal, invalid, refused


def test_a_refused_child_stalls() -> None:
    world = serving()
    refusal = Refusal(
        kind="Deployment", name="narrator", code=422, message="spec.template.spec.affinity: Invalid value"
    )
    planned = refused(world.model, world.plan(), [refusal], NOW)
    assert planned.status is not None
    for kind, status in (("Ready", "False"), ("Stalled", "True"), ("Reconciling", "False")):
        condition = condition_of(planned.status, kind)
        assert condition is not None
        assert condition["status"] == status
    stalled = condition_of(planned.status, "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "ApplyRefused"
    assert "Deployment narrator: spec.template.spec.affinity" in stalled["message"]
    assert [(event.type, event.reason) for event in planned.events] == [("Warning", "ApplyRefused")]
    assert planned.status["phase"] == "Degraded"
    assert VoiceModelStatus.model_validate(planned.status).to_json() == planned.status
    kinds = [each["type"] for each in planned.status["conditions"]]
    assert len(kinds) == len(set(kinds))


def test_nothing_refused_is_nothing_changed() -> None:
    world = serving()
    planned = world.plan()
    assert refused(world.model, planned, [], NOW) is planned


@pytest.mark.parametrize("status", [{}, {"url": "http://x", "conditions": []}])
def test_a_voicemodel_that_cannot_be_read_says_which_field(status: dict[str, Any]) -> None:
    metadata = {"name": "narrator", "namespace": "voices", "uid": "1", "generation": 4}
    raw = {"metadata": metadata, "spec": {"source": {"builtin": {"name": "gone"}}}, "status": status}
    with pytest.raises(ValidationError) as error:
        VoiceModel.model_validate(raw)
    planned = invalid(raw, error.value, NOW)
    assert (planned.apply, planned.delete) == ((), ())
    assert planned.status is not None
    stalled = condition_of(planned.status, "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "SpecInvalid"
    assert "spec.source.builtin.name" in stalled["message"]
    assert planned.status["observedGeneration"] == 4
