"""`voxraga serve` for real: the demo voice fetched, served, heard, stopped, and served again without a fetch."""

import io
import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import wave
from pathlib import Path
from typing import Any

import numpy as np

from tests.operator.cli.files import document, written
from tests.operator.cli.served import COMMAND, PATIENCE, environment, served, spoken
from tests.runtime.server.whisper import whisper
from tests.speech import audio, judge
from tests.speech.sentences import HARVARD

SENTENCE = HARVARD[13]


def test_the_example_is_served_and_the_second_start_fetches_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as first:
        with urllib.request.urlopen(f"{first.url}/ready", timeout=PATIENCE) as ready:
            assert ready.status == 200
        samples, rate = audio.read(spoken(first.url, model="narrator", input=SENTENCE, response_format="wav"))
        assert judge.named(samples, rate, HARVARD) == SENTENCE
        port = int(first.url.rpartition(":")[2])
        assert first.stop() == 0
    told = "\n".join(first.said)
    assert "left out: spec.resources: " in told
    assert "demo: fetched, verified and stored (10." in told
    assert first.said[-1] == "voxraga: stopped"
    messages = [line["message"] for line in first.logged]
    assert messages.index("published") < messages.index("ready") < messages.index("draining")
    with socket.create_server(("127.0.0.1", port)):
        pass  # nobody listens there any more

    store = tmp_path / "voxraga" / "default" / "narrator"
    (model,) = (store / "models").iterdir()
    stamp = model.stat().st_ino
    with served(tmp_path) as second:
        assert second.url
        assert second.stop() == 0
    assert "demo: verified, not fetched again" in "\n".join(second.said)
    assert "published" not in [line["message"] for line in second.logged]
    assert model.stat().st_ino == stamp


def heard(url: str, recording: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """As the line that the command says to type: one multipart field with the recording."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\n\r\n'
    sent = {"Content-Type": "multipart/form-data; boundary=x", **headers}
    asked = urllib.request.Request(f"{url}/v1/audio/transcriptions", head + recording + b"\r\n--x--\r\n", sent)
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read())


def test_a_model_that_hears_is_served_with_keys(tmp_path: Path) -> None:
    whisper(tmp_path / "shelf")
    (tmp_path / "keys").write_text("# one a line\nsecret\n")
    spec = {
        "task": "SpeechToText",
        "source": {"persistentVolumeClaim": {"claimName": "shelf", "path": "files"}},
        "access": {"apiKeys": {"secretName": "keys"}},
    }
    arguments = ("-f", written(tmp_path, document("scribe", **spec)), "--claim", f"shelf={tmp_path / 'shelf'}")
    with served(tmp_path, *arguments, "--api-keys", str(tmp_path / "keys")) as running:
        recording = wav(2.0)
        assert heard(running.url, recording)[0] == 401
        status, answer = heard(running.url, recording, **{"X-API-Key": "secret"})
        assert status == 200, answer
        assert isinstance(answer["text"], str)
        assert running.stop() == 0
    store = tmp_path / "voxraga" / "default" / "scribe"
    (model,) = (store / "models").iterdir()
    assert json.loads((model / "manifest.json").read_text())["model"]["architecture"] == "whisper"
    assert '/v1/audio/transcriptions -H "X-API-Key: $KEY" -F file=@recording.wav' in "\n".join(running.said)


def wav(seconds: float) -> bytes:
    noise = (3000 * np.random.default_rng(1).standard_normal(round(seconds * 16000))).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(noise.tobytes())
    return out.getvalue()


def run(folder: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *arguments, "--store", str(folder / "store")]
    return subprocess.run(
        command, env=environment(folder, **more), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_a_fetch_that_fails_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    files = [{"url": f"http://127.0.0.1:{port}/model.pth", "path": "model.pth", "sha256": "0" * 64}]
    file = written(tmp_path, document(source={"http": {"files": files}}))
    ended = run(tmp_path, "-f", file, VOXRAGA_FETCH_ATTEMPTS="1", NO_PROXY="*")
    assert ended.returncode == 1
    *_, told = ended.stderr.splitlines()
    assert told.startswith("voxraga: the fetch failed: SourceUnreachable: ")
    assert f"http://127.0.0.1:{port}/model.pth: " in told
    assert told.endswith("(starting again may help)")


def test_a_source_without_a_model_needs_somebody(tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    file = written(tmp_path, document(source={"persistentVolumeClaim": {"claimName": "voices"}}))
    ended = run(tmp_path, "-f", file, "--claim", f"voices={tmp_path / 'voices'}")
    assert ended.returncode == 2
    assert re.search(r"voxraga: the fetch failed: [A-Z]\w+: .*", ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_command_loads_no_client_no_informer_and_no_model() -> None:
    """It starts fast, and in an image of the runtime, which has neither kopf nor the client."""
    script = (
        "import sys, voxraga_operator.cli; names = {name.partition('.')[0] for name in sys.modules};"
        "print(sorted(names & {'kopf', 'kubernetes', 'aiohttp', 'jinja2', 'torch', 'TTS', 'voxraga_runtime'}))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
