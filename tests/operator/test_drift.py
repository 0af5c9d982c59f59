"""What an apply would change, told from the live object alone."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxraga_operator import drift, quantity
from voxraga_operator.drift import needs_apply

MANAGER = "voxraga-operator"

DESIRED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "narrator",
        "namespace": "default",
        "labels": {"app.kubernetes.io/name": "voicemodel", "app.kubernetes.io/managed-by": "voxraga-operator"},
        "ownerReferences": [
            {"apiVersion": "voxraga.io/v1alpha1", "kind": "VoiceModel", "name": "narrator", "uid": "u-1"},
        ],
    },
    "spec": {
        "replicas": 1,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "image": "voxraga/runtime-cpu:1",
                        "args": ["serve", "--now"],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "resources": {"requests": {"cpu": "500m", "memory": "1Gi", "a.vendor.example.com/gpu": 1}},
                        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    },
                ],
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        },
    },
}

_KEYS = {"containers": ("name",), "env": ("name",), "volumes": ("name",), "volumeMounts": ("mountPath",)}
_KEYS |= {"ports": ("containerPort", "protocol"), "ownerReferences": ("uid",)}


def fields_of(value: Any, name: str = "") -> dict[str, Any]:
    """managedFields as the API server makes them of an applied configuration."""
    if isinstance(value, dict):
        return {f"f:{key}": fields_of(item, key) for key, item in value.items()}
    if isinstance(value, list) and name in _KEYS:
        return {_item_key(item, _KEYS[name]): {".": {}, **fields_of(item)} for item in value}
    return {}


def _item_key(item: dict[str, Any], keys: tuple[str, ...]) -> str:
    return "k:" + json.dumps({key: item.get(key, "TCP") for key in keys}, separators=(",", ":"))


def live_of(desired: dict[str, Any], manager: str = MANAGER) -> dict[str, Any]:
    """The object as it stands right after we applied it, with defaults and what others added."""
    live = copy.deepcopy(desired)
    owned = fields_of({key: value for key, value in desired.items() if key not in {"apiVersion", "kind"}})
    owned["f:metadata"] = {
        key: value for key, value in owned["f:metadata"].items() if key not in {"f:name", "f:namespace"}
    }
    live["metadata"] |= {
        "uid": "u-2",
        "resourceVersion": "7",
        "annotations": {"deployment.kubernetes.io/revision": "1"},
        "managedFields": [
            {"manager": manager, "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": owned},
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {}},
        ],
    }
    live["spec"]["revisionHistoryLimit"] = 10
    container(live)["ports"][0]["protocol"] = "TCP"
    container(live)["imagePullPolicy"] = "IfNotPresent"
    live["status"] = {"replicas": 1}
    return live


def container(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def pod(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]
    return found


def test_what_was_just_applied_needs_nothing() -> None:
    assert list(drift.reasons(live_of(DESIRED), DESIRED, MANAGER)) == []


def test_what_is_absent_needs_an_apply() -> None:
    assert needs_apply(None, DESIRED, MANAGER)


def test_what_another_manager_applied_needs_an_apply() -> None:
    assert needs_apply(live_of(DESIRED, "kubectl"), DESIRED, MANAGER)


EDITS: dict[str, Any] = {
    "scalar": lambda live: live["spec"].update(replicas=3),
    "label value": lambda live: live["metadata"]["labels"].update({"app.kubernetes.io/name": "x"}),
    "label removed": lambda live: live["metadata"]["labels"].pop("app.kubernetes.io/managed-by"),
    "owner removed": lambda live: live["metadata"].update(ownerReferences=[]),
    "owner's uid": lambda live: live["metadata"]["ownerReferences"][0].update(uid="u-9"),
    "image": lambda live: container(live).update(image="evil"),
    "env value": lambda live: container(live)["env"][1].update(value="3"),
    "env removed": lambda live: container(live)["env"].pop(),
    "argument added": lambda live: container(live)["args"].append("--more"),
    "arguments swapped": lambda live: container(live)["args"].reverse(),
    "port": lambda live: container(live)["ports"][0].update(containerPort=8081),
    "port's name": lambda live: container(live)["ports"][0].update(name="web"),
    "cpu": lambda live: container(live)["resources"]["requests"].update(cpu="501m"),
    "memory": lambda live: container(live)["resources"]["requests"].update(memory="1G"),
    "mount": lambda live: container(live)["volumeMounts"][0].update(mountPath="/var/tmp"),
    "volume's kind": lambda live: pod(live)["volumes"].__setitem__(0, {"name": "tmp", "hostPath": {"path": "/"}}),
    "toleration": lambda live: pod(live)["tolerations"][0].update(key="cpu"),
    "toleration added": lambda live: pod(live)["tolerations"].append({"operator": "Exists"}),
    "container removed": lambda live: pod(live).update(containers=[]),
    "all tolerations removed": lambda live: pod(live).pop("tolerations"),
    "a map became a scalar": lambda live: pod(live).update(volumes="none"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edit_of_what_is_ours_needs_an_apply(edit: Any) -> None:
    live = live_of(DESIRED)
    edit(live)
    assert needs_apply(live, DESIRED, MANAGER)


HARMLESS: dict[str, Any] = {
    "annotation": lambda live: live["metadata"]["annotations"].update(note="x"),
    "label": lambda live: live["metadata"]["labels"].update(team="voice"),
    "container injected": lambda live: pod(live)["containers"].insert(0, {"name": "proxy", "image": "proxy"}),
    "env injected": lambda live: container(live)["env"].insert(0, {"name": "C", "value": "3"}),
    "env in another order": lambda live: container(live)["env"].reverse(),
    "volume injected": lambda live: pod(live)["volumes"].append({"name": "token", "projected": {}}),
    "memory in other words": lambda live: container(live)["resources"]["requests"].update(memory="1024Mi"),
    "cpu in other words": lambda live: container(live)["resources"]["requests"].update(cpu="0.5"),
    "count as a string": lambda live: container(live)["resources"]["requests"].update(
        {"a.vendor.example.com/gpu": "1"}
    ),
    "limits by a LimitRange": lambda live: container(live)["resources"].update(limits={"cpu": "2"}),
    "status": lambda live: live["status"].update(replicas=0),
    "finalizer": lambda live: live["metadata"].update(finalizers=["foregroundDeletion"]),
}


@pytest.mark.parametrize("edit", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_others_add_beside_ours_needs_nothing(edit: Any) -> None:
    live = live_of(DESIRED)
    edit(live)
    assert list(drift.reasons(live, DESIRED, MANAGER)) == []


DROPPED: dict[str, Any] = {
    "label": lambda desired: desired["metadata"]["labels"].pop("app.kubernetes.io/name"),
    "scalar": lambda desired: desired["spec"].pop("replicas"),
    "env": lambda desired: container(desired)["env"].pop(0),
    "all env": lambda desired: container(desired).pop("env"),
    "port": lambda desired: container(desired).pop("ports"),
    "port's name": lambda desired: container(desired)["ports"][0].pop("name"),
    "request": lambda desired: container(desired)["resources"]["requests"].pop("cpu"),
    "volume and mount": lambda desired: (container(desired).pop("volumeMounts"), pod(desired).pop("volumes")),
    "tolerations": lambda desired: pod(desired).pop("tolerations"),
    "owner": lambda desired: desired["metadata"].pop("ownerReferences"),
    "all labels emptied": lambda desired: desired["metadata"].update(labels={}),
    "set to null": lambda desired: desired["spec"].update(replicas=None),
}


@pytest.mark.parametrize("drop", DROPPED.values(), ids=DROPPED.keys())
def test_what_we_own_and_no_longer_want_needs_an_apply(drop: Any) -> None:
    """The value still stands in the live object: only managedFields tell that it is stale."""
    live = live_of(DESIRED)
    desired = copy.deepcopy(DESIRED)
    drop(desired)
    assert needs_apply(live, desired, MANAGER)


def test_a_field_that_another_manager_took_over_needs_an_apply_even_if_its_value_is_right() -> None:
    live = live_of(DESIRED)
    del live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:replicas"]
    assert list(drift.reasons(live, DESIRED, MANAGER)) == ["spec.replicas: not owned"]


def test_a_zero_value_may_be_left_out_by_the_server_but_not_taken_away() -> None:
    desired = copy.deepcopy(DESIRED)
    desired["spec"]["paused"] = False
    live = live_of(desired)
    del live["spec"]["paused"]
    assert not needs_apply(live, desired, MANAGER)
    del live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:paused"]
    assert needs_apply(live, desired, MANAGER)


def test_an_atomic_list_is_owned_as_a_whole() -> None:
    live = live_of(DESIRED)
    pod(live)["tolerations"][0]["tolerationSeconds"] = 5
    assert not needs_apply(live, DESIRED, MANAGER)
    managed = live["metadata"]["managedFields"][0]["fieldsV1"]
    del managed["f:spec"]["f:template"]["f:spec"]["f:tolerations"]
    assert needs_apply(live, DESIRED, MANAGER)


def test_entries_of_several_api_versions_count_together() -> None:
    live = live_of(DESIRED)
    entry = copy.deepcopy(live["metadata"]["managedFields"][0])
    entry["apiVersion"], entry["fieldsV1"] = "apps/v1beta1", {"f:spec": {"f:paused": {}}}
    live["metadata"]["managedFields"].append(entry)
    assert list(drift.reasons(live, DESIRED, MANAGER)) == ["spec.paused: no longer wanted"]


def test_the_status_is_compared_with_its_own_manager_and_subresource() -> None:
    conditions = [{"type": "Ready", "status": "True", "message": ""}]
    fields = {
        "f:status": {"f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:type": {}, "f:status": {}, "f:message": {}}}}
    }
    entry = {"manager": "s", "operation": "Apply", "subresource": "status", "fieldsV1": fields}
    live = {"metadata": {"name": "a", "managedFields": [entry]}, "status": {"conditions": conditions}}
    assert not needs_apply(live, {"status": {"conditions": conditions}}, "s", "status")
    assert needs_apply(live, {"status": {"conditions": conditions}}, "s")
    flipped = [{**conditions[0], "status": "False"}]
    assert needs_apply(live, {"status": {"conditions": flipped}}, "s", "status")
    assert needs_apply(
        live, {"status": {"conditions": [*conditions, {"type": "Stalled", "status": "True"}]}}, "s", "status"
    )
    assert needs_apply(live, {"status": {}}, "s", "status")


def test_true_is_not_one() -> None:
    def obj(value: Any) -> dict[str, Any]:
        entry = {"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:x": {}}}}
        return {"metadata": {"managedFields": [entry]}, "spec": {"x": value}}

    assert needs_apply(obj(1), {"spec": {"x": True}}, MANAGER)
    assert needs_apply(obj("8080"), {"spec": {"x": 8080}}, MANAGER)  # an IntOrString keeps its kind
    assert not needs_apply(obj(1.0), {"spec": {"x": 1}}, MANAGER)


def test_pruning_keeps_the_empty_structs_that_mean_something() -> None:
    pruned = drift.prune(
        {"a": None, "labels": {}, "emptyDir": {}, "args": [], "list": [{"b": None}], "zero": 0, "no": False}
    )
    assert pruned == {"emptyDir": {}, "list": [{}], "zero": 0, "no": False}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1024Mi", "1Gi"),
        ("0.5", "500m"),
        (1, "1"),
        ("1", "1000m"),
        ("1e3", "1k"),
        ("1.5Gi", "1536Mi"),
        ("100n", "0.1u"),
    ],
)
def test_quantities_in_other_words_are_equal(one: Any, other: Any) -> None:
    assert quantity.equal(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1G", "1Gi"),
        ("1", "1m"),
        ("", ""),
        ("x", "x"),
        (True, 1),
        (None, None),
        ("1e999999999", "1e999999999"),
        ("1 Gi", "1Gi"),
    ],
)
def test_other_quantities_are_not(one: Any, other: Any) -> None:
    assert not quantity.equal(one, other)


_scalars = st.one_of(st.integers(-5, 5), st.booleans(), st.text(max_size=3))
_names = st.sampled_from(["a", "b", "spec", "x.y/z", "limits", "args"])
_objects = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.dictionaries(_names, inner, max_size=3), st.lists(inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(_names, _objects, max_size=4))
def test_whatever_was_applied_needs_nothing_and_its_removal_does(content: dict[str, Any]) -> None:
    wanted = drift.prune({"spec": content})
    entry = {"manager": MANAGER, "operation": "Apply", "fieldsV1": fields_of(wanted)}
    live = {"metadata": {"managedFields": [entry]}, **copy.deepcopy(wanted)}
    assert list(drift.reasons(live, wanted, MANAGER)) == []
    for name in wanted["spec"]:
        fewer = {key: value for key, value in wanted["spec"].items() if key != name}
        assert needs_apply(live, {"spec": fewer}, MANAGER)
