"""A VoiceModel that hears: Whisper fetched over HTTP, checked, stored, served, and asked through its Service."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kube import Kube
from tests.e2e.voicemodels import files_server, voicemodel
from tests.runtime.server.whisper import whisper

pytestmark = pytest.mark.node

# Runs in a pod: has a sentence spoken by the first URL, and transcribed by the second.
CLIENT = """
import io, json, sys, urllib.request, wave
speak, hear = sys.argv[1:]
body = json.dumps({"input": "The birch canoe slid on the smooth planks.", "response_format": "wav"}).encode()
request = urllib.request.Request(speak, body, {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=120) as answer:
    recording = answer.read()
form = b'--x\\r\\nContent-Disposition: form-data; name="response_format"\\r\\n\\r\\nverbose_json\\r\\n'
form += b'--x\\r\\nContent-Disposition: form-data; name="file"; filename="speech.wav"\\r\\n\\r\\n' + recording
request = urllib.request.Request(hear, form + b"\\r\\n--x--\\r\\n", {"Content-Type": "multipart/form-data; boundary=x"})
with urllib.request.urlopen(request, timeout=120) as answer:
    heard = json.load(answer)
with wave.open(io.BytesIO(recording)) as file:
    print(json.dumps({"spoken": file.getnframes() / file.getframerate(), "heard": heard}))
"""


@pytest.fixture(scope="module")
def scribe(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The VoiceModel, ready. Its weights are random: what it writes down means nothing."""
    folder = whisper(tmp_path_factory.mktemp("whisper")) / "files"
    kube("create", "configmap", "scribe-files", f"--from-file={folder}")
    kube.apply(*files_server(kube, "scribe-files", "scribe-files"))
    kube("rollout", "status", "deployment/scribe-files", "--timeout=120s", timeout=130)
    files = [_named(path) for path in sorted(folder.iterdir())]
    kube.apply(voicemodel("scribe", task="SpeechToText", source={"http": {"files": files}}))
    kube("wait", "--for=condition=Ready", "voicemodel/scribe", "--timeout=300s", timeout=310)
    yield kube.get("voicemodel", "scribe")
    kube("delete", "voicemodel", "scribe", "--wait=true")
    kube("delete", "deploy,service,configmap", "scribe-files", "--ignore-not-found")


def _named(path: Path) -> dict[str, str]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"url": f"http://scribe-files/{path.name}", "path": path.name, "sha256": digest}


def test_status_says_what_it_is(scribe: dict[str, Any]) -> None:
    model = scribe["status"]["model"]
    assert model["architecture"] == "whisper"
    assert model["sampleRate"] == 16000
    assert model.get("voices", []) == []


def test_a_recording_is_transcribed(kube: Kube, scribe: dict[str, Any], url: str) -> None:
    addresses = (f"{url}/v1/audio/speech", f"{scribe['status']['url']}/v1/audio/transcriptions")
    printed = kube("exec", "deploy/narrator", "-c", "server", "--", "python3", "-c", CLIENT, *addresses, timeout=300)
    answer = json.loads(printed)
    assert answer["heard"]["duration"] == pytest.approx(answer["spoken"], abs=0.05)
    assert isinstance(answer["heard"]["text"], str)
