"""kubectl tells the truth: columns, conditions, a story in events, scale, explain, pods under restricted security."""

import pytest

from tests.e2e.kube import Kube, condition
from tests.e2e.speaker import speak

pytestmark = pytest.mark.node


def test_get_shows_what_is_ready_and_where(speaking: Kube, url: str) -> None:
    head, row = speaking("get", "voicemodels", "narrator").splitlines()
    shown = dict(zip(head.split(), row.split(), strict=True))
    assert shown["READY"] == "1/1"
    assert shown["MODEL"] == "demo"
    assert shown["DEVICE"] == "CPU"
    assert shown["PHASE"] == "Ready"
    assert shown["URL"] == url
    assert len(speaking("get", "voicemodels", "narrator", "-o", "wide").splitlines()[0].split()) > len(head.split())


def test_wait_returns(speaking: Kube) -> None:
    assert "condition met" in speaking("wait", "--for=condition=Ready", "voicemodel/narrator", "--timeout=60s")


def test_status_describes_the_model(speaking: Kube) -> None:
    status = speaking.get("voicemodel", "narrator")["status"]
    assert status["model"]["digest"].startswith("sha256:")
    assert status["model"]["sampleRate"] == 16000
    assert status["model"]["voices"] == ["rms", "slt"]
    assert status["model"]["bytes"] > 5_000_000
    assert status["observedGeneration"] == speaking.get("voicemodel", "narrator")["metadata"]["generation"]


def test_describe_tells_the_story(speaking: Kube) -> None:
    events = speaking("describe", "voicemodel", "narrator").split("Events:")[1]
    for reason in ("Fetching", "ModelStored", "Ready"):
        assert reason in events, events


def test_explain_reads_like_documentation(speaking: Kube) -> None:
    tree = speaking("explain", "voicemodel.spec", "--recursive")
    for field in ("source", "catalog", "store", "device", "autoscaling", "serving", "podTemplate"):
        assert field in tree
    text = speaking("explain", "voicemodel.spec.serving.queueDepth")
    assert "DESCRIPTION" in text
    assert len(text.split("DESCRIPTION:")[1].split()) > 8


def test_scale_up_and_down(speaking: Kube, url: str) -> None:
    speaking("scale", "voicemodel", "narrator", "--replicas=2")

    def ready() -> str:
        return str(speaking.get("voicemodel", "narrator")["status"].get("ready", ""))

    try:
        speaking.until("2/2 ready", lambda: ready() == "2/2")
        assert all(a.status == 200 for a in speak(speaking, url, [{"model": "narrator", "input": "Two."}] * 4))
    finally:
        speaking("scale", "voicemodel", "narrator", "--replicas=1")
    speaking.until("1/1 ready", lambda: ready() == "1/1")
    assert condition(speaking.get("voicemodel", "narrator"), "Ready")["status"] == "True"


def test_pods_are_restricted_and_enforced(speaking: Kube) -> None:
    labels = speaking.get("namespace", str(speaking.namespace))["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in speaking.list("pods", "app.kubernetes.io/instance=narrator"):
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
    with pytest.raises(Exception, match=r"[Rr]ead-only file system"):
        speaking("exec", "deploy/narrator", "-c", "server", "--", "touch", "/store/x")


def test_health_and_metrics_answer(speaking: Kube, url: str) -> None:
    script = (
        f"from urllib.request import urlopen as u; print(*(u('{url}' + p).read() for p in ('/health', '/metrics')))"
    )
    text = speaking("exec", "deploy/narrator", "-c", "server", "--", "python3", "-c", script)
    assert '"queue_size"' in text
    assert "voxraga_requests_total" in text
