"""What has no meaning without a cluster is named; what has one is not."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.operator.cli.files import document
from voxraga_operator.api import crd
from voxraga_operator.cli.left_out import INSTEAD, USED, left_out, undecided

SPEC = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def fields(schema: dict[str, Any], path: str) -> Iterator[str]:
    yield path
    for name, below in schema.get("properties", {}).items():
        yield from fields(below, f"{path}.{name}")


def test_each_field_of_the_crd_is_decided_about() -> None:
    there = set(fields(SPEC, "spec"))
    assert undecided(iter(there)) == set()
    assert {*INSTEAD, *USED} <= there
    assert undecided(iter(["spec.backup.schedule"])) == {"spec.backup.schedule"}


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({}, []),
        ({"replicas": 1}, []),
        ({"replicas": 3}, ["spec.replicas"]),
        ({"replicas": 0}, ["spec.replicas"]),
        ({"replicas": 3, "autoscaling": {"maxReplicas": 3}}, ["spec.replicas, spec.autoscaling"]),
        ({"service": {"type": "LoadBalancer"}}, ["spec.service"]),
        ({"store": {"size": "1Gi", "existingClaim": "mine"}}, ["spec.store.size", "spec.store.existingClaim"]),
        ({"podTemplate": {"env": [{"name": "A"}], "labels": {"a": "b"}}}, ["spec.podTemplate.labels"]),
        ({"podTemplate": {"labels": {}}}, []),
        ({"device": {"type": "GPU"}}, []),
        ({"device": {"type": "GPU", "gpu": {"count": 2}}}, ["spec.device.gpu.count"]),
        ({"serving": {"queueDepth": 1}, "license": {"accepted": ["CPML"]}}, []),
        ({"image": {"cpu": "mine:1"}, "rollout": {"strategy": "Replace"}}, ["spec.rollout", "spec.image"]),
    ],
)
def test_what_is_named(spec: dict[str, Any], named: list[str]) -> None:
    told = left_out(document(**spec))
    assert [line.partition(":")[0] for line in told] == named
    assert all(len(line.partition(": ")[2]) > 10 for line in told)
