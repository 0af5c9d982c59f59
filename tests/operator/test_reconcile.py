"""The pass over one object, with a cluster that keeps what it is told and says no where it is told to."""

import copy
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from voxraga_operator import reconcile, repair
from voxraga_operator.cluster import ApiError
from voxraga_operator.plan.types import Deletion, Event, Observed, Plan, Reads
from voxraga_operator.queue import Key
from voxraga_operator.reconcile import Reconciler, RefusedError
from voxraga_operator.settings import OperatorSettings

KEY = Key("VoiceModel", "default", "narrator")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def parent(**more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "voxraga.io/v1alpha1",
        "kind": "VoiceModel",
        "metadata": {"name": "narrator", "namespace": "default", "uid": "u-1", "generation": 3, **more},
        "spec": {"source": {"builtin": {"name": "demo"}}},
    }


def service(port: int = 80) -> dict[str, Any]:
    metadata = {"name": "narrator", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": port}]}}


def versioned(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": "5"}}


def deployment() -> dict[str, Any]:
    metadata = {"name": "narrator", "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"paused": False}}


class FakeCluster:
    """Notes every write; fails those for which a failure stands ready."""

    def __init__(self, model: dict[str, Any] | None) -> None:
        self.model = model
        self.writes: list[str] = []
        self.statuses: list[dict[str, Any]] = []
        self.failures: dict[str, list[ApiError]] = {}

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        assert (kind, namespace, name) == KEY
        return copy.deepcopy(self.model)

    async def apply(self, obj: Mapping[str, Any], *, manager: str = "?", subresource: str = "") -> dict[str, Any]:
        self._write(f"apply {obj['kind']}{'/' + subresource if subresource else ''} by {manager}")
        if subresource:
            assert obj["metadata"]["uid"] == "u-1"
            self.statuses.append(obj["status"])
        return {
            **obj,
            "metadata": {**obj["metadata"], "managedFields": [{"manager": "x"}, {"manager": repair.MANAGER}]},
        }

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str, resource_version: str | None = None
    ) -> bool:
        assert (namespace, resource_version) == ("default", "41")
        self._write(f"delete {kind} {name} {uid}")
        return True

    async def json_patch(
        self, kind: str, namespace: str, name: str, patch: Sequence[Mapping[str, Any]], *, manager: str = "us"
    ) -> dict[str, Any]:
        self._write(f"patch {kind} {namespace}/{name} {patch[-1]['path']} by {manager}")
        return {}

    def _write(self, what: str) -> None:
        self.writes.append(what)
        if failures := self.failures.get(what):
            raise failures.pop(0)


class Story:
    def __init__(self) -> None:
        self.lines: list[str] = []

    async def record(self, about: Mapping[str, Any], kind: str, reason: str, message: str) -> None:
        assert about["metadata"]["uid"] == "u-1"
        self.lines.append(f"{kind} {reason} {message}")


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: Plan, model: dict[str, Any] | None = None) -> None:
        self.cluster = FakeCluster(parent() if model is None else model)
        self.story = Story()
        self.observed = Observed()
        self.planned = 0
        self.plan = plan
        reads = Reads(
            name="narrator", claim="c", job="j", jobs_selector="", pods_selector="", secrets=(), source_claim=None,
            nodes=False,
        )  # fmt: skip
        monkeypatch.setattr(reconcile.planner, "reads", lambda _model: reads)
        monkeypatch.setattr(reconcile.planner, "plan", self._plan)

    def _plan(self, *_: Any) -> Plan:
        self.planned += 1
        return self.plan

    async def _observe(self, namespace: str, _: Reads) -> Observed:
        assert namespace == "default"
        return self.observed

    async def run(self) -> float | None:
        reconciler = Reconciler(self.cluster, self._observe, self.story, OperatorSettings(), lambda: NOW)
        return await reconciler(KEY)


STATUS = {"phase": "Ready", "conditions": []}


async def test_the_writes_come_in_the_plans_order_and_the_story_last(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Deletion(
        api_version="batch/v1",
        kind="Job",
        namespace="default",
        name="old",
        uid="u-7",
        resource_version="41",
        reason="old key",
    )
    plan = Plan(
        handover=(deployment(),),
        delete=(gone,),
        apply=(service(), deployment()),
        status=STATUS,
        events=(Event(type="Normal", reason="Ready", message="it speaks"),),
        requeue_after=timedelta(seconds=90),
    )
    bench = Bench(monkeypatch, plan)
    assert await bench.run() == 90
    assert bench.cluster.writes == [
        "apply Deployment by voxraga-operator-handover",
        "delete Job old u-7",
        "apply Service by voxraga-operator",
        "apply Deployment by voxraga-operator",
        "apply VoiceModel/status by voxraga-operator-status",
    ]
    assert bench.story.lines == ["Normal Ready it speaks"]


async def test_an_unchanged_object_is_read_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def live(obj: dict[str, Any], fields: dict[str, Any], manager: str, **more: Any) -> dict[str, Any]:
        entry = {"manager": manager, "operation": "Apply", "fieldsV1": fields, **more}
        return {**obj, "metadata": {**obj["metadata"], "managedFields": [entry]}}

    model = {**parent(), "status": {"phase": "Ready"}}
    model = live(model, {"f:status": {"f:phase": {}}}, "voxraga-operator-status", subresource="status")
    bench = Bench(monkeypatch, Plan(apply=(service(),), status=STATUS), model)
    port = {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}
    bench.observed = Observed(service=live(service(), {"f:spec": {"f:ports": port}}, "voxraga-operator"))
    assert await bench.run() is None
    assert bench.cluster.writes == []


@pytest.mark.parametrize("model", [None, parent(deletionTimestamp="2026-01-01T00:00:00Z")], ids=["gone", "going"])
async def test_a_parent_that_is_gone_or_going_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, model: dict[str, Any] | None
) -> None:
    bench = Bench(monkeypatch, Plan(apply=(service(),)))
    bench.cluster.model = model
    assert await bench.run() is None
    assert (bench.planned, bench.cluster.writes) == (0, [])


async def test_a_spec_that_is_not_understood_stalls_with_the_fields_path(monkeypatch: pytest.MonkeyPatch) -> None:
    model = parent()
    model["spec"]["replicas"] = "many"
    model["status"] = {"url": "http://x", "conditions": [{"type": "Ready", "status": "True", "reason": "Serving"}]}
    bench = Bench(monkeypatch, Plan(apply=(service(),)), model)
    assert await bench.run() is None
    assert bench.planned == 0
    status = bench.cluster.statuses[-1]
    assert status["url"] == "http://x"
    assert status["observedGeneration"] == 3
    condition = stalled(bench)
    assert (condition["status"], condition["reason"]) == ("True", "SpecInvalid")
    assert "spec.replicas" in condition["message"]
    assert condition["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def stalled(bench: Bench) -> dict[str, Any]:
    conditions = bench.cluster.statuses[-1]["conditions"]
    return next(condition for condition in conditions if condition["type"] == "Stalled")


REFUSED = ApiError(403, "Forbidden", "exceeded quota: few", what="PATCH /x")


async def test_a_refused_child_is_named_in_status_and_the_others_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, Plan(apply=(service(), deployment()), status=STATUS))
    bench.cluster.failures["apply Service by voxraga-operator"] = [REFUSED]
    with pytest.raises(RefusedError, match="Service narrator: exceeded quota: few"):
        await bench.run()  # so that the queue backs off
    assert "apply Deployment by voxraga-operator" in bench.cluster.writes
    assert stalled(bench)["message"] == "the API server refuses Service narrator: exceeded quota: few"
    assert bench.story.lines == ["Warning ApplyRefused the API server refuses Service narrator: exceeded quota: few"]


@pytest.mark.parametrize(
    "error",
    [
        ApiError(409, "Conflict", "the object has been modified"),
        ApiError(429, "TooManyRequests", "later", retry_after=9),
        ApiError(500, "InternalError", "etcd"),
        ApiError(0, "Unreachable", "no route"),
    ],
    ids=lambda error: str(error.status),
)
async def test_what_may_pass_by_itself_is_tried_again_and_no_status(
    monkeypatch: pytest.MonkeyPatch, error: ApiError
) -> None:
    bench = Bench(monkeypatch, Plan(apply=(service(), deployment()), status=STATUS))
    bench.cluster.failures["apply Service by voxraga-operator"] = [error]
    with pytest.raises(ApiError) as raised:
        await bench.run()
    assert raised.value.retry_after == error.retry_after
    assert bench.cluster.statuses == []
    assert bench.story.lines == []


async def test_an_edit_that_no_apply_can_undo_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, Plan(apply=(service(),), status=STATUS))
    bench.observed = Observed(service=versioned(service(81)))
    invalid = ApiError(422, "Invalid", 'spec.ports[1].name: Duplicate value: "http"')
    bench.cluster.failures["apply Service by voxraga-operator"] = [invalid]
    await bench.run()
    assert bench.cluster.writes == [
        "apply Service by voxraga-operator",
        "patch Service default/narrator /spec by voxraga-operator-repair",
        "apply Service by voxraga-operator",
        "patch Service default/narrator /metadata/managedFields/1 by us",
        "apply VoiceModel/status by voxraga-operator-status",
    ]


async def test_what_is_invalid_in_itself_is_no_repair_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    invalid = ApiError(422, "Invalid", "spec.ports: Required value")
    bench = Bench(monkeypatch, Plan(apply=(service(),), status=STATUS))
    bench.observed = Observed(service=versioned(service(81)))
    bench.cluster.failures["apply Service by voxraga-operator"] = [invalid]
    bench.cluster.failures["patch Service default/narrator /spec by voxraga-operator-repair"] = [invalid]
    with pytest.raises(RefusedError):
        await bench.run()
    assert "Required value" in stalled(bench)["message"]


async def test_a_parent_that_vanishes_before_its_status_is_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, Plan(status=STATUS))
    bench.cluster.failures["apply VoiceModel/status by voxraga-operator-status"] = [ApiError(404, "NotFound", "gone")]
    assert await bench.run() is None


def test_a_repair_keeps_the_replicas_that_an_autoscaler_owns() -> None:
    live = {"metadata": {"resourceVersion": "5"}, "spec": {"replicas": 4, "paused": True}}
    version, spec = repair.replacement(live, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {}}})
    assert version["value"] == "5"
    assert spec["value"] == {"template": {}, "replicas": 4}


def test_a_repair_is_not_tried_on_what_can_not_be_edited() -> None:
    assert repair.possible(422, {}, {"kind": "Service"})
    assert not repair.possible(422, None, {"kind": "Service"})
    assert not repair.possible(403, {}, {"kind": "Service"})
    assert not repair.possible(422, {}, {"kind": "Job"})
    assert repair.forget({"metadata": {}}) == []
