"""The generated CRD: what is committed is what the models say, and the API server will take it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operator.api.cases import CASES, CEL, Case
from voxraga_operator.api import crd
from voxraga_operator.api.voicemodel import VoiceModel

COMMITTED = Path(__file__).parents[3] / "crds" / crd.FILE

Schema = dict[str, Any]


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from nodes(schema[name], f"{path}[]")


ROOT = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
NODES = [(path, schema) for path, schema in nodes(ROOT) if path.startswith((".spec", ".status"))]
SPEC = [(path, schema) for path, schema in NODES if path.startswith(".spec")]

# Bounded by its format.
UNBOUNDED = {".status.conditions[].lastTransitionTime"}

# Parts that mean something by being there.
OPTIONAL = {".spec", ".spec.source.huggingFace", ".spec.autoscaling", ".spec.access.rateLimit"}


def test_the_committed_file_is_generated_from_the_models() -> None:
    assert COMMITTED.read_text() == crd.render(), "run `python -m voxraga_operator crds`"


def test_rendered_text_is_what_is_defined() -> None:
    assert yaml.safe_load(crd.render()) == crd.definition()


@pytest.mark.parametrize(("path", "schema"), NODES, ids=[path for path, _ in NODES])
def test_every_node_is_structural_and_bounded(path: str, schema: Schema) -> None:
    assert not {"$ref", "title", "const", "oneOf", "allOf", "nullable", "examples"} & schema.keys()
    if schema.get("x-kubernetes-int-or-string"):
        assert schema["maxLength"]
        return
    assert "anyOf" not in schema
    kind = schema["type"]
    if kind == "string" and path not in UNBOUNDED:
        assert "enum" in schema or "maxLength" in schema
    if kind == "array":
        assert "maxItems" in schema
        assert "x-kubernetes-list-type" in schema
    if kind == "integer":
        assert schema["format"] in ("int32", "int64")
    if "additionalProperties" in schema:
        assert isinstance(schema["additionalProperties"], dict)
        assert "maxProperties" in schema


@pytest.mark.parametrize(("path", "schema"), SPEC, ids=[path for path, _ in SPEC])
def test_every_field_is_explained(path: str, schema: Schema) -> None:
    if path.endswith("[]"):
        return
    description = schema["description"]
    assert len(description) > 10
    assert description.endswith((".", ")"))
    assert "\n" not in description


@pytest.mark.parametrize(("path", "schema"), SPEC, ids=[path for path, _ in SPEC])
def test_defaults_are_canonical(path: str, schema: Schema) -> None:
    """A parent's is {}, so that each default stands in one place; none is empty, null or a needless fraction."""
    has_defaults = any("default" in below for below in schema.get("properties", {}).values())
    if "default" not in schema:
        assert not has_defaults or path.endswith("[]") or path in OPTIONAL
        return
    default = schema["default"]
    if "properties" in schema:
        assert default == {}
        assert has_defaults
    else:
        assert default not in (None, [], {})
        assert not (isinstance(default, float) and default.is_integer())


def test_every_rule_is_tried_both_ways() -> None:
    messages = {each["message"] for _, schema in nodes(ROOT) for each in schema.get("x-kubernetes-validations", [])}
    tried = {message for message in messages for pair in CEL if pair.rule in message}
    assert messages - tried == set()


def test_ids_of_cases_are_unique() -> None:
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [case for case in CASES if not case.refused], ids=lambda case: case.id)
def test_what_the_api_server_accepts_can_be_read(case: Case) -> None:
    metadata = {"name": case.name, "namespace": "default", "uid": "1"}
    VoiceModel.model_validate({"metadata": metadata, "spec": case.spec})


def test_kubectl_shows_what_matters() -> None:
    columns = crd.definition()["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if column["priority"] == 0]
    assert shown == ["Model", "Device", "Ready", "Phase", "URL", "Age"]


def test_scaling_goes_through_the_subresource() -> None:
    assert crd.definition()["spec"]["versions"][0]["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def test_a_union_is_refused_when_it_is_generated() -> None:
    from pydantic import BaseModel  # noqa: PLC0415 - only this test makes a model

    class Both(BaseModel):
        value: int | str

    with pytest.raises(ValueError, match="union"):
        crd.structural(Both)
