"""The steps a user takes, shared by the demo and the end-to-end tests: install, apply, wait, ask for speech."""

import contextlib
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.e2e.kube import Kube, condition

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "manifests/overlays/local"
EXAMPLE = ROOT / "manifests/examples/voicemodel.yaml"
SYSTEM = "voxraga-system"

Say = Callable[[str], None]


def install(kube: Kube, images: dict[str, str], seconds: float = 300) -> None:
    """Apply the manifests, with the images under the names that the cluster knows, and wait until the operator runs."""
    there = kube("-n", SYSTEM, "get", "deployment", "voxraga-operator", "--ignore-not-found")
    if all(image == name for image, name in images.items()):
        kube("apply", "--server-side", "--force-conflicts", "-k", str(OVERLAY))
    else:
        kube("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=_renamed(kube, images))
    if there:  # the tag stays the same when the code changes
        kube("-n", SYSTEM, "rollout", "restart", "deployment/voxraga-operator")
    # Not --for=condition=Established: kubectl gives up where the CRD has no conditions yet.
    established = 'jsonpath={.status.conditions[?(@.type=="Established")].status}=True'
    kube("wait", f"--for={established}", "crd/voicemodels.voxraga.io", "--timeout=30s")
    kube(
        *("-n", SYSTEM, "rollout", "status", "deployment/voxraga-operator", f"--timeout={seconds:.0f}s"),
        timeout=seconds + 10,
    )


def _renamed(kube: Kube, images: dict[str, str]) -> str:
    text = kube("kustomize", str(OVERLAY))
    for image, name in images.items():
        text = text.replace(image, name)
    return text


def restricted_namespace(name: str) -> dict[str, Any]:
    """A namespace that admits restricted pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def until_ready(kube: Kube, name: str, say: Say, seconds: float = 300) -> dict[str, Any]:
    """Wait for Ready, telling each change of phase and reason; an error carries the last thing the status said."""
    begun, told = time.monotonic(), ""
    while True:
        model = kube.get("voicemodel", name)
        ready = condition(model, "Ready")
        line = f"{model.get('status', {}).get('phase', 'Pending')}: {ready.get('message', 'not seen yet')}"
        if line != told:
            say(f"{time.monotonic() - begun:5.1f} s  {line}")
            told = line
        if ready.get("status") == "True":
            return model
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"voicemodel {name} is not ready after {seconds:.0f} s: {told}")
        time.sleep(0.5)


@contextlib.contextmanager
def forwarded(kube: Kube, service: str) -> Iterator[str]:
    """A loopback URL for a Service, by kubectl port-forward."""
    process = subprocess.Popen(
        kube.command("port-forward", f"service/{service}", ":80"), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        port = re.search(r"127\.0\.0\.1:(\d+)", line)
        if not port:
            raise ConnectionError(f"kubectl port-forward service/{service} said {line!r}")
        yield f"http://127.0.0.1:{port[1]}"
    finally:
        process.terminate()
        process.wait(10)


def speech(url: str, **body: Any) -> bytes:
    """POST /v1/audio/speech and return the audio."""
    request = urllib.request.Request(
        f"{url}/v1/audio/speech", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return bytes(answer.read())
