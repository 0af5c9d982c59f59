"""Several models in one server: every way in finds them, none hears another's audio, and memory comes back."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeVoice

from tests import ports
from tests.runtime.server import models
from tests.runtime.server.brought import INFO, publish_bundle
from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import PATIENCE, Running, running
from tests.runtime.server.test_transcripts import Ears
from voxraga_runtime.server import memory
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.store.uploads import Uploads

TWO = INFO.model_copy(update={"architecture": "speedy_speech", "voices": ["anna", "bert"]})
ONE = INFO.model_copy(update={"architecture": "glow_tts", "voices": ["default"]})
TEXT = "The door is closed."


@pytest.fixture(scope="module")
def port() -> int:
    return ports.free(1)[0]


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, port: int, speedy_bundle: Path, glow_bundle: Path
) -> Iterator[Running]:
    uploads = Uploads(tmp_path_factory.mktemp("uploads"))
    publish_bundle(uploads, "two", speedy_bundle, TWO)
    publish_bundle(uploads, "one", glow_bundle, ONE)
    settings: dict[str, Any] = {
        "uploads_path": uploads.path,
        "uploads_without_keys": True,
        "wyoming_port": port,
        "max_concurrency": 2,
        "default_voice": "high",
        "voice_aliases": {"alloy": "low"},
    }
    with running(ToneEngine(), tmp_path_factory.mktemp("model"), **settings) as started:
        yield started


def said(api: Running, **body: Any) -> bytes:
    answer = api.client.post("/synthesize", json={"text": TEXT, "format": "pcm", **body})
    assert answer.status_code == 200, answer.text
    return answer.content


def test_every_model_has_its_own_voices_and_defaults(api: Running) -> None:
    assert said(api, model="two") == said(api, model="two", voice="anna") == said(api, voice="two/anna")
    assert said(api, model="two", voice="bert") != said(api, model="two", voice="anna")
    assert said(api, model="two", voice="alloy") == said(api, model="two", voice="anna")  # the alias is the own model's
    assert said(api) == said(api, model="tts-1") == said(api, model="narrator", voice="high")
    answer = api.client.post("/synthesize", json={"text": TEXT, "model": "two", "voice": "high"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "voice")


@pytest.mark.parametrize("voice", ["nobody/anna", "two/carl", "../two/anna"])
def test_voices_that_nobody_has(api: Running, voice: str) -> None:
    answer = api.client.post("/synthesize", json={"text": TEXT, "voice": voice})
    assert answer.status_code in {400, 404}


def test_the_websocket_speaks_with_it(api: Running) -> None:
    with connect(api.url.replace("http", "ws") + "/v1/audio/speech/stream") as socket:
        socket.send(json.dumps({"type": "session.start", "model": "two", "voice": "bert"}))
        started = json.loads(socket.recv(timeout=PATIENCE))
        assert (started["model"], started["voice"]) == ("two", "bert")
        socket.send(json.dumps({"type": "input.text", "text": TEXT}))
        socket.send(json.dumps({"type": "input.end"}))
        audio = b"".join(frame for frame in socket if isinstance(frame, bytes))
    assert audio == said(api, model="two", voice="bert")


async def test_home_assistant_picks_it_as_a_voice(api: Running, port: int) -> None:
    del api
    async with AsyncTcpClient("127.0.0.1", port, connect_timeout=PATIENCE, read_timeout=PATIENCE) as client:
        await client.write_event(Describe().event())
        event = await client.read_event()
        assert event is not None
        (program,) = Info.from_event(event).tts
        voices = {voice.name: voice.languages for voice in program.voices}
        assert list(voices) == ["low", "high", "one/default", "two/anna", "two/bert"]
        assert (voices["low"], voices["two/anna"]) == (["en", "de"], ["en"])
        await client.write_event(Synthesize(TEXT, voice=SynthesizeVoice(name="two/bert")).event())
        kinds = []
        while kinds[-1:] != ["audio-stop"]:
            event = await client.read_event()
            assert event is not None
            kinds.append(event.type)
        assert kinds[:2] == ["audio-start", "audio-chunk"]


def test_nobody_hears_another_models_voice(api: Running) -> None:
    bodies = [
        {"text": f"Sentence {'abcdefgh'[: i // 3 + 1]}.", **({"model": model} if model else {})}
        for i, model in enumerate(("two", "one", None) * 8)
    ]
    alone = [said(api, **body) for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda body: said(api, **body), bodies)) == alone
    assert len(set(alone)) == len(alone)


def test_models_that_share_one_place_are_all_served(tmp_path: Path, speedy_bundle: Path, glow_bundle: Path) -> None:
    """Requests for two models come mixed, and only one of them fits beside the own one: loads take turns."""
    uploads = Uploads(tmp_path / "uploads")
    publish_bundle(uploads, "two", speedy_bundle, TWO)
    publish_bundle(uploads, "one", glow_bundle, ONE)
    settings: dict[str, Any] = {"uploads_path": uploads.path, "uploads_without_keys": True, "models_max_loaded": 2}
    with running(ToneEngine(), tmp_path, max_concurrency=2, **settings) as server:
        alone = [said(server, model=model) for model in ("one", "two", "narrator")]
        with ThreadPoolExecutor(12) as pool:
            mixed = list(pool.map(lambda model: said(server, model=model), ("one", "two", "narrator") * 6))
        assert mixed == alone * 6
        assert server.metric("voxraga_models_loaded") == 2
        assert server.metric('voxraga_model_evictions_total{reason="count"}') >= 2


def test_a_language_has_one_name_everywhere(api: Running, speedy_bundle: Path) -> None:
    listed = {m["name"]: m["languages"] for m in api.client.get("/models").json()["models"]}
    assert listed == {"narrator": ["en", "de"], "one": ["en"], "two": ["en"]}  # the engine's own name is en-us
    for language in ("en", "en-us", "EN", "en-GB"):
        assert said(api, model="two", language=language) == said(api, model="two")
    answer = api.client.post("/synthesize", json={"text": TEXT, "model": "two", "language": "fr"})
    assert answer.json()["error"]["message"] == "language is 'fr'; it must be one of en"
    with running(lambda: CoquiEngine(speedy_bundle), speedy_bundle, default_language="en") as server:
        (own,) = server.client.get("/models").json()["models"]
        assert (own["origin"], own["languages"]) == ("folder", ["en"])


def test_metrics_of_models(api: Running) -> None:
    said(api, model="one")
    said(api, model="two")
    assert api.metric("voxraga_models_loaded") == 3
    assert api.metric("voxraga_model_memory_bytes") > 20_000
    assert api.metric('voxraga_model_loads_total{outcome="loaded"}') >= 3


def test_a_server_that_hears_is_listed(tmp_path: Path) -> None:
    with running(Ears, tmp_path, task="SpeechToText") as server:  # type: ignore[arg-type]
        get = server.client.get
        (own,) = get("/models").json()["models"]
        assert (own["name"], own["type"], own["loaded"]) == ("narrator", "SpeechToText", True)
        assert [get(f"/v1/models/{name}").status_code for name in ("narrator", "whisper-1", "x")] == [200, 200, 404]
        assert get("/v1/audio/voices").json() == {"voices": []}
        assert server.metric("voxraga_models_loaded") == 1


def test_the_own_models_facts_come_from_its_manifest(tmp_path: Path) -> None:
    path = publish_bundle(Uploads(tmp_path), "x", models.speedy_speech(tmp_path / "m"), TWO)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["source"] = {"catalog": {"name": "tts_models/en/vctk/vits"}}
    manifest["model"]["name"] = "tts_models/en/vctk/vits"
    (path / "manifest.json").write_text(json.dumps(manifest))
    with running(ToneEngine(), path) as server:
        (own,) = server.client.get("/models").json()["models"]
    assert (own["origin"], own["dataset"], own["digest"]) == ("fetched", "vctk", manifest["digest"])
    assert own["bytes"] == manifest["bytes"] > 0


def test_memory_comes_back(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.runtime.server.unloading", str(tmp_path)]
    done = subprocess.run(
        program, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": f"runtime{os.pathsep}."}
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["weights"] > 50 << 20
    levels = found["loaded"][1:]
    assert max(levels) - min(levels) < found["weights"] / 3  # nothing is left of those before
    assert levels[-1] - found["none"] > found["weights"] * 0.8


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "1073741824\n"}, 1 << 30),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "1073741824"}, 1 << 30),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ({}, None),
    ],
)
def test_the_containers_memory(files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory.limit(tmp_path) == limit


def test_the_ceiling_is_what_the_container_leaves(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(str(100 << 30))
    assert memory.ceiling(5, 1, tmp_path) == 5
    found = memory.ceiling(None, 0, tmp_path)
    assert found is not None
    assert found == pytest.approx((80 << 30) - memory.resident(), abs=64 << 20)
    with_cache = memory.ceiling(None, 0, tmp_path, cache=10 << 30)
    assert with_cache == pytest.approx(found - (10 << 30), abs=64 << 20)
    assert memory.ceiling(None, 0, tmp_path / "none") is None


def test_resident_memory_of_others() -> None:
    assert memory.resident(os.getpid()) > 10 << 20
    assert memory.resident(2**22 + 1) == 0
