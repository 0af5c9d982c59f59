"""`voxraga-runtime serve` as a process: how it starts, fails and ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests import ports
from tests.runtime.server.harness import PATIENCE

ROOT = Path(__file__).parents[3]
RUN = [sys.executable, "-m", "voxraga_runtime", "serve"]


def environment(tmp_path: Path, model: Path | str, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "runtime"),
        "HOME": str(tmp_path),
        "VOXRAGA_MODEL_NAME": "narrator",
        "VOXRAGA_MODEL_PATH": str(model),
        "VOXRAGA_HOST": "127.0.0.1",
        "VOXRAGA_TERMINATION_LOG": str(tmp_path / "termination"),
        **more,
    }


@pytest.mark.parametrize(
    ("more", "reason", "told"),
    [
        ({"VOXRAGA_PORT": "http"}, "SettingsInvalid", "VOXRAGA_PORT"),
        ({"VOXRAGA_MODEL_PATH": "/store/models/none"}, "ModelMissing", "/store/models/none"),
    ],
)
def test_a_start_that_cannot_succeed_says_why(tmp_path: Path, more: dict[str, str], reason: str, told: str) -> None:
    ended = subprocess.run(
        RUN, env=environment(tmp_path, tmp_path, **more), capture_output=True, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 1
    words = json.loads((tmp_path / "termination").read_text())
    assert words["reason"] == reason
    assert told in words["message"]


def test_sigterm_drains_and_exits_0(tmp_path: Path, speedy_bundle: Path) -> None:
    port = ports.free(1)[0]
    process = subprocess.Popen(RUN, env=environment(tmp_path, speedy_bundle, VOXRAGA_PORT=str(port)), text=True,
                               stdout=subprocess.PIPE)  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            wait_ready(client, process)
            text = "This is a sentence. " * 60
            with client.stream("POST", "/v1/audio/speech", json={"input": text, "response_format": "pcm"}) as answer:
                pieces = answer.iter_raw()
                size = len(next(pieces))
                process.send_signal(signal.SIGTERM)
                with httpx.Client(base_url=client.base_url, timeout=PATIENCE) as late:
                    deadline = time.monotonic() + PATIENCE
                    while (status := late.get("/ready").status_code) == 200 and time.monotonic() < deadline:
                        time.sleep(0.05)
                    assert status == 503
                    refused = late.post("/v1/audio/speech", json={"input": "Hello."})
                    assert (refused.status_code, refused.headers["connection"]) == (503, "close")
                size += sum(map(len, pieces))
        assert size > 24000 * 2 * 30  # all sixty sentences
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        out, _ = process.communicate()
    lines = [json.loads(line) for line in out.splitlines()]
    assert {"listening", "ready", "request", "draining", "stopped"} <= {line["message"] for line in lines}


def wait_ready(client: httpx.Client, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended before it was ready"
        try:
            if client.get("/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("the server did not become ready")
