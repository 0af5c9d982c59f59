"""`voxraga serve` for real: the demo voice fetched, served, heard, stopped, and served again without a fetch."""

import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.operator.cli.files import document, written
from tests.operator.cli.served import COMMAND, PATIENCE, environment, served, spoken
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
