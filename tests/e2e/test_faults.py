"""What goes wrong is named in the status, and mends itself when corrected: nothing is deleted by hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.kube import Kube, KubectlError, condition
from tests.e2e.speaker import speak
from tests.e2e.voicemodels import FILES, files_server, voicemodel

pytestmark = pytest.mark.node


@dataclass(frozen=True)
class Fault:
    """A wrong spec, what the status must say, and the correction."""

    wrong: dict[str, Any]
    condition: str
    reason: str
    says: str
    corrected: dict[str, Any]


BUILTIN = {"catalog": None, "http": None, "builtin": {"name": "demo"}}
RIGHT_FILES = {"http": {"files": FILES}}

FAULTS: dict[str, Fault] = {
    "wrong-checksum": Fault(
        {"source": {"http": {"files": [FILES[0] | {"sha256": "0" * 64}, *FILES[1:]]}}},
        "ModelStored",
        "ChecksumMismatch",
        "0000",
        {"source": RIGHT_FILES},
    ),
    "unknown-name": Fault(
        {"source": {"catalog": {"name": "tts_models/en/vctk/vitz"}}},
        "ModelStored",
        "UnknownCatalogModel",
        "tts_models/en/vctk/vits",
        {"source": BUILTIN},
    ),
    "unreachable-url": Fault(
        {"source": {"http": {"files": [f | {"url": "http://nowhere.invalid/" + f["path"]} for f in FILES]}}},
        "ModelStored",
        "SourceUnreachable",
        "nowhere.invalid",
        {"source": RIGHT_FILES},
    ),
    "no-storage-class": Fault(
        {"source": {"builtin": {"name": "demo"}}, "store": {"size": "1Gi", "storageClassName": "gold"}},
        "ModelStored",
        "StorageClassNotFound",
        "gold",
        {"store": {"storageClassName": None}},
    ),
    "no-gpu-node": Fault(
        {"source": {"builtin": {"name": "demo"}}, "device": {"type": "GPU"}},
        "AcceleratorReady",
        "NoAccelerator",
        "nvidia.com/gpu",
        {"device": {"type": "CPU"}},
    ),
    "no-image": Fault(
        {"source": {"builtin": {"name": "demo"}}, "image": {"cpu": "localhost/voxraga/nothing:1"}},
        "Ready",
        "ImagePullFailed",
        "localhost/voxraga/nothing:1",
        {"image": {"cpu": None}},
    ),
}


@pytest.fixture(scope="module")
def broken(kube: Kube) -> Iterator[Kube]:
    """All faults at once, beside the server that the corrected ones download from."""
    kube.apply(*files_server(kube))
    kube.apply(*(voicemodel(name, **fault.wrong) for name, fault in FAULTS.items()))
    yield kube
    kube("delete", "voicemodels", *FAULTS, "--wait=true")
    kube("delete", "deploy,service,pdb", "files", "--ignore-not-found")


@pytest.mark.parametrize("name", FAULTS)
def test_the_status_names_the_cause(broken: Kube, name: str) -> None:
    fault = FAULTS[name]

    def told() -> bool:
        seen = condition(broken.get("voicemodel", name), fault.condition)
        return (seen.get("status"), seen.get("reason")) == ("False", fault.reason) and fault.says in seen["message"]

    broken.until(f"{fault.condition}=False {fault.reason} … {fault.says}", told)
    assert condition(broken.get("voicemodel", name), "Ready")["status"] == "False"


def test_all_recover_when_corrected(broken: Kube) -> None:
    for name, fault in FAULTS.items():
        broken.patch("voicemodel", name, {"spec": fault.corrected})
    for name in FAULTS:
        broken("wait", "--for=condition=Ready", f"voicemodel/{name}", "--timeout=420s", timeout=430)
        url = f"http://{name}.{broken.namespace}.svc.cluster.local"
        assert speak(broken, url, [{"input": "Again."}])[0].status == 200


def test_a_volume_that_no_node_can_mount_is_told(kube: Kube) -> None:
    size = {"storage": "1Gi"}
    volume: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "voxraga-e2e-gone"},
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "voxraga-e2e-gone",
            "hostPath": {"path": "/voxraga/not/there", "type": "Directory"},
        },
    }
    claim: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "gone"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "voxraga-e2e-gone",
            "resources": {"requests": size},
        },
    }
    model = voicemodel("unmountable", source={"builtin": {"name": "demo"}}, store={"existingClaim": "gone"})

    def told() -> bool:
        seen = condition(kube.get("voicemodel", "unmountable"), "ModelStored")
        return seen.get("reason") == "FailedMount" and "/voxraga/not/there" in seen["message"]

    try:
        kube.apply(volume, claim, model)
        kube.until("ModelStored=False FailedMount", told)
    finally:
        for kind, name in (("voicemodel", "unmountable"), ("pvc", "gone"), ("pv", "voxraga-e2e-gone")):
            kube("delete", kind, name, "--wait=true", "--ignore-not-found")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two sources": ({"source": {"builtin": {"name": "demo"}, "catalog": {"name": "a/b/c/d"}}}, "exactly one"),
    "no source": ({"source": {}}, "exactly one"),
    "a speed of 9": ({"serving": {"defaults": {"speed": 9}}}, "speed"),
    "more replicas at least than at most": ({"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}, "minReplicas"),
    "a device that is not there": ({"device": {"type": "TPU"}}, "spec.device.type"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_at_once(kube: Kube, name: str) -> None:
    spec, says = REFUSED[name]
    with pytest.raises(KubectlError, match=says):
        kube.apply(voicemodel("refused", **{"source": {"builtin": {"name": "demo"}}, **spec}))
    assert not kube.get("voicemodel", "refused")
