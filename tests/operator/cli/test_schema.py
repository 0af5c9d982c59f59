"""What the API server accepts and refuses, `voxraga` does too: the same cases, with the same rules."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operator.api.cases import CASES, DEMO, Case
from voxraga_operator.api import crd
from voxraga_operator.api.common import API_VERSION
from voxraga_operator.api.voicemodel import VoiceModelSpec
from voxraga_operator.cli import rules
from voxraga_operator.cli.schema import admit

ROOT = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
EXAMPLES = sorted((Path(__file__).parents[3] / "manifests" / "examples").glob("*.yaml"))


def document(spec: Any, name: str = "case", **more: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "VoiceModel", "metadata": {"name": name}, "spec": spec, **more}


def validations(schema: dict[str, Any]) -> Iterator[dict[str, str]]:
    yield from schema.get("x-kubernetes-validations", [])
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for each in below:
        if isinstance(each, dict):
            yield from validations(each)


@pytest.mark.parametrize("case", [case for case in CASES if case.before is None], ids=lambda case: case.id)
def test_a_file_is_judged_as_the_api_server_would(case: Case) -> None:
    admitted = admit(document(case.spec, case.name))
    if case.refused:
        assert any(case.refused in mistake for mistake in admitted.mistakes), admitted.mistakes
    else:
        assert admitted.mistakes == ()
    assert admitted.unchecked == ()


def test_every_rule_but_those_about_changes_has_a_twin() -> None:
    expressions = {each["rule"] for each in validations(ROOT)}
    assert {each for each in expressions if not rules.is_transition(each) and rules.twin(each) is None} == set()


def test_a_rule_without_a_twin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "twin", lambda _: None)
    admitted = admit(document(DEMO))
    assert admitted.mistakes == ()
    assert "spec.source: set exactly one source: catalog, huggingFace" in "; ".join(admitted.unchecked)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_right(path: Path) -> None:
    assert admit(yaml.safe_load(path.read_text())).mistakes == ()


def fields(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, below in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields(below, f"{path}.{name}")


def given(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield f"{path}.{name}"
            yield from given(below, f"{path}.{name}")


@pytest.mark.parametrize("part", ["serving", "access"])
def test_the_examples_show_every_field_of_a_server(part: str) -> None:
    specs = [yaml.safe_load(path.read_text())["spec"] for path in EXAMPLES]
    shown = {path for spec in specs for path in given(spec.get(part), part)}
    assert set(fields(ROOT["properties"]["spec"]["properties"][part], part)) - shown == set()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({**DEMO, "replica": 2}, 'spec.replica: unknown field; did you mean "replicas"?'),
        ({**DEMO, "replicas": "2"}, 'spec.replicas is "2": it must be a whole number'),
        ({**DEMO, "replicas": True}, "spec.replicas is true: it must be a whole number"),
        ({**DEMO, "replicas": 101}, "spec.replicas is 101: it must be at least 0 and at most 100"),
        ({"source": None}, "spec.source is missing (Where the model comes from"),
        ({"source": {"builtin": {"name": "demo\n"}}}, 'spec.source.builtin.name is "demo\\n": it must be "demo"'),
        ({"source": {"catalog": {"name": "vits"}}}, 'such as "tts_models/en/vctk/vits"'),
        ({**DEMO, "store": {"size": 2}}, "spec.store.size is 2: it must be a text (write it in quotes)"),
        ({**DEMO, "resources": {"limits": {"cpu": 1.5}}}, "spec.resources.limits.cpu is 1.5: it must be a whole"),
        ({**DEMO, "serving": {"voiceAliases": {1: "a"}}}, "spec.serving.voiceAliases has the key 1: keys must be text"),
        (
            {**DEMO, "podTemplate": {"env": [{"name": "A"}, {"name": "A"}]}},
            'spec.podTemplate.env[1] stands in the list already: name "A"',
        ),
        ({**DEMO, "license": {"accepted": ["CPML", "CPML"]}}, "spec.license.accepted[1] stands in the list already"),
        ([], "spec is []: it must be an object with fields"),
        ({"source": {"http": {"files": []}}}, "spec.source.http.files has 0 items: it must have 1 to 64"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_field_and_the_remedy(spec: Any, told: str) -> None:
    assert told in "\n".join(admit(document(spec)).mistakes)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"metadata": {}}, "metadata.name is missing"),
        ({"metadata": {"name": "a", "namespace": "A"}}, 'metadata.namespace is "A"'),
        ({"specs": {}}, 'specs: unknown field; did you mean "spec"?'),
    ],
)
def test_what_surrounds_the_spec(changed: dict[str, Any], told: str) -> None:
    assert told in "\n".join(admit(document(DEMO) | changed).mistakes)


def test_several_mistakes_are_told_at_once() -> None:
    spec = {**DEMO, "task": "Sing", "device": {"type": "TPU"}}
    assert [mistake.split()[0] for mistake in admit(document(spec)).mistakes] == ["spec.task", "spec.device.type"]


def test_defaults_are_the_crds_and_null_is_not_set() -> None:
    spec = {**DEMO, "replicas": None, "serving": {"queueDepth": 3}}
    admitted = admit(document(spec, status={"phase": "Ready"}))
    assert admitted.document["spec"]["replicas"] == 1
    assert admitted.document["spec"]["serving"]["queueDepth"] == 3
    assert admitted.document["spec"]["serving"]["defaults"] == {"speed": 1, "format": "mp3"}
    assert admitted.document["metadata"] == {"name": "case", "namespace": "default"}
    assert "status" not in admitted.document
    own = VoiceModelSpec.model_validate({**DEMO, "serving": {"queueDepth": 3}})
    assert VoiceModelSpec.model_validate(admitted.document["spec"]) == own
