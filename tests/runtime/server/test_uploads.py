"""POST /models/upload over HTTP: what is taken, what is refused and why, and that nothing is ever half there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tests import ports
from tests.runtime.server import models
from tests.runtime.server.brought import archive_of, publish
from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import PATIENCE, Running, running
from tests.runtime.server.test_process import RUN, environment, wait_ready
from tests.runtime.store import bundles
from tests.runtime.store.test_gate import BAD
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server.models import uploading
from voxraga_runtime.server.models.uploading import open_uploads
from voxraga_runtime.store import manifest
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.uploads import Uploads

LIMIT = 8 << 20  # bytes of an upload
Files = list[tuple[str, tuple[str, bytes]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def api(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    model = tmp_path_factory.mktemp("model")
    settings: dict[str, Any] = {"uploads_path": folder, "uploads_without_keys": True, "uploads_max_bytes": LIMIT}
    with running(ToneEngine(), model, **settings) as started:
        yield started


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the spoken test, which has tests of its own."""

    async def believed(*_: Any) -> dict[str, Any]:
        return {"voices": 1, "memory": 1}

    monkeypatch.setattr(uploading, "speak_confined", believed)


def upload(api: Running, files: Files, name: str = "mine", **texts: str) -> httpx.Response:
    return api.client.post("/models/upload", data={"model_name": name, **texts}, files=files)


def packed(content: bytes) -> Files:
    return [("archive", ("model.zip", content))]


def parts_of(files: dict[str, bytes]) -> Files:
    fields = {"model.pth": "model_file", "config.json": "config_file"}
    return [(fields.get(path, "files"), (path, content)) for path, content in files.items()]


def error_of(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def nothing_left(folder: Path, *names: str) -> None:
    assert sorted(Uploads(folder).models()) == sorted(names)
    assert list((folder / "partial").iterdir()) == []


def test_a_model_is_brought_heard_listed_and_removed(api: Running, folder: Path, speedy_bundle: Path) -> None:
    answer = upload(api, packed(archive_of(speedy_bundle)), "voice-1")
    assert answer.status_code == 201, answer.text
    facts = answer.json()
    assert (facts["name"], facts["origin"], facts["type"]) == ("voice-1", "uploaded", "TextToSpeech")
    assert (facts["architecture"], facts["languages"], facts["voices"]) == ("speedy_speech", ["en"], ["anna", "bert"])
    assert (facts["loaded"], facts["last_used"]) == (False, None)
    assert facts["spoken_test"]["voices"] == 2
    assert manifest.verify(folder / "models" / "voice-1@1").source == {"upload": {"name": "voice-1"}}

    get = lambda path: api.client.get(path).json()  # noqa: E731
    assert [m["name"] for m in get("/models")["models"]] == ["narrator", "voice-1"]
    assert [m["id"] for m in get("/v1/models")["data"]] == ["narrator", "voice-1"]
    assert get("/v1/models/voice-1")["created"] > 0
    assert get("/v1/audio/models") == {"models": [{"id": "narrator"}, {"id": "voice-1"}]}
    assert [v["id"] for v in get("/v1/audio/voices")["voices"]] == ["low", "high", "voice-1/anna", "voice-1/bert"]

    body = {"input": "Hello there, everybody.", "response_format": "wav"}
    heard = api.client.post("/v1/audio/speech", json={**body, "model": "voice-1", "voice": "bert"})
    assert heard.status_code == 200
    assert heard.content == api.client.post("/v1/audio/speech", json={**body, "voice": "voice-1/bert"}).content
    assert heard.content != api.client.post("/v1/audio/speech", json=body).content
    compared = api.client.post("/synthesize/compare", json={"text": "Hi.", "models": ["tts-1", "voice-1", "other"]})
    assert [min(result) for result in compared.json()["results"].values()] == ["audio_base64"] * 2 + ["error"]
    loaded = get("/models")["models"][1]
    assert (loaded["loaded"], loaded["default_voice"], loaded["languages"]) == (True, "anna", ["en"])
    assert loaded["last_used"] is not None
    assert loaded["memory_bytes"] > 10_000

    assert api.client.delete("/models/voice-1").status_code == 204
    assert api.client.post("/v1/audio/speech", json={**body, "model": "voice-1"}).status_code == 404
    assert api.client.delete("/models/voice-1").status_code == 404
    assert api.client.delete("/models/narrator").status_code == 403
    nothing_left(folder)


def test_a_silent_model_is_refused_by_its_spoken_test(api: Running, folder: Path, tmp_path: Path) -> None:
    bundle = models.speedy_speech(tmp_path)
    weights = torch.load(bundle / "files" / "model.pth", weights_only=True)
    for value in weights["model"].values():
        value.zero_()
    torch.save(weights, bundle / "files" / "model.pth")
    answer = upload(api, packed(archive_of(bundle)))
    assert (answer.status_code, error_of(answer)["code"]) == (422, "invalid_model")
    assert "failed its spoken test: the warm-up sentence" in error_of(answer)["message"]
    nothing_left(folder)


def test_a_model_that_eats_memory_is_refused(api: Running, folder: Path, speedy_bundle: Path) -> None:
    files = speedy_bundle / "files"
    config = json.loads((files / "config.json").read_text())
    config["model_args"]["hidden_channels"] = 40_000  # a convolution of 25 GB
    sent = {"config.json": json.dumps(config).encode(), "model.pth": (files / "model.pth").read_bytes()}
    answer = upload(api, parts_of(sent))
    assert (answer.status_code, error_of(answer)["code"]) == (422, "invalid_model")
    assert "memory" in error_of(answer)["message"]
    assert str(folder) not in error_of(answer)["message"]
    nothing_left(folder)


@pytest.mark.parametrize(("files", "reason", "said"), BAD.values(), ids=BAD)
def test_what_the_gate_refuses(api: Running, folder: Path, files: dict[str, bytes], reason: str, said: str) -> None:
    hidden = any(name.startswith(".") for name in files)  # an archive's are passed over
    answer = upload(api, parts_of(files) if hidden else packed(bundles.archive(files)))
    assert answer.status_code == 422
    error = error_of(answer)
    assert error["code"] == uploading._snake(reason)
    assert said.replace("spec.license.accepted: [CPML]", "accepted_licenses=CPML") in error["message"]
    assert not Path("/tmp/voxraga-was-here").exists()
    nothing_left(folder)


@pytest.mark.parametrize("name", ["../../out.pth", "/tmp/out.pth", ".bashrc", "a\\b.pth"])
@pytest.mark.parametrize("field", ["files", "speakers_file", "archive"])
def test_no_file_comes_to_lie_elsewhere(api: Running, folder: Path, name: str, field: str) -> None:
    if field == "archive":
        files = packed(bundles.archive(bundles.good() | {name: b"x"}))
        if name == ".bashrc":
            return  # of an archive it is passed over, see the gate's own tests
    else:
        files = [*parts_of(bundles.good()), (field, (name, b"x"))]
    answer = upload(api, files)
    assert (answer.status_code, error_of(answer)["code"]) == (422, "unsafe_model")
    nothing_left(folder)


FORM = {"Content-Type": "multipart/form-data; boundary=b"}
MODEL = b'--b\r\nContent-Disposition: form-data; name="model_name"\r\n\r\nmine\r\n'


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"nothing of the kind", 400, "can't be read"),
        (MODEL, 400, "ends in the middle"),
        (MODEL + b"--b--", 400, "model_file is missing"),
        (b"--b--", 400, "model_name"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", 400, "no name"),
        (MODEL.replace(b"mine", b"x" * 9000) + b"--b--", 400, "was it meant as a file"),
        (b"--b\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 400, "header"),
        (MODEL * 70 + b"--b--", 400, "more than 64 parts"),
    ],
)
def test_bodies_that_are_no_upload(api: Running, folder: Path, body: bytes, status: int, said: str) -> None:
    answer = api.client.post("/models/upload", content=body, headers=FORM)
    assert answer.status_code == status
    assert said in error_of(answer)["message"]
    nothing_left(folder)


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "text/plain; boundary=b", ""])
def test_other_kinds_of_body(api: Running, kind: str) -> None:
    answer = api.client.post("/models/upload", content=MODEL, headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "curl -F model_name" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("texts", "files", "refusal"),
    [
        ({"name": "a/b"}, [], (400, "'a/b' is no name for a model")),
        ({"name": "narrator"}, [], (409, "the server's own model")),
        ({"name": "tts-1"}, [], (409, "the server's own model")),
        ({"replace": "perhaps"}, [], (400, "replace is 'perhaps'")),
        ({}, [("config_file", ("c", b"{}"))], (400, "model_file is missing")),
        ({}, [("weights", ("c", b"{}"))], (400, "'weights' is no file of an upload")),
        ({}, [*packed(b""), ("config_file", ("c", b"{}"))], (400, "an archive comes alone")),
        ({}, packed(b"no archive"), (422, "is a damaged archive")),
        ({}, [("model_file", ("c", b"")), ("model_file", ("c", b""))], (400, "comes twice")),
    ],
)
def test_forms_that_are_wrong(
    api: Running, folder: Path, texts: dict[str, str], files: Files, refusal: tuple[int, str]
) -> None:
    answer = upload(api, files or packed(b""), **{"name": "mine", **texts})
    assert answer.status_code == refusal[0]
    assert refusal[1] in error_of(answer)["message"]
    nothing_left(folder)


def test_too_much_is_refused_announced_or_not(api: Running, folder: Path) -> None:
    answer = upload(api, [("model_file", ("m", bytes(LIMIT + (2 << 20))))])
    assert (answer.status_code, error_of(answer)["code"]) == (413, "request_too_large")
    pieces = (bytes(1 << 20) for _ in range(20))
    start = MODEL + b'--b\r\nContent-Disposition: form-data; name="model_file"; filename="m"\r\n\r\n'
    answer = api.client.post("/models/upload", content=(p for p in (start, *pieces)), headers=FORM)
    assert answer.status_code == 413
    nothing_left(folder)


def test_a_full_volume_says_so(api: Running, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise StoreError("StoreFull", "1.2 GiB more are needed")

    monkeypatch.setattr("voxraga_runtime.store.disk.require_space", full)
    answer = upload(api, packed(b"x"))
    assert (answer.status_code, error_of(answer)["code"]) == (507, "storage_full")
    nothing_left(folder)


@pytest.mark.usefixtures("quick")
def test_a_name_is_taken_until_it_is_replaced(api: Running, folder: Path) -> None:
    first, second = (bundles.good(note=note) for note in ("one", "two"))
    assert upload(api, parts_of(first)).status_code == 201
    assert (answer := upload(api, parts_of(second))).status_code == 409
    assert "replace=true" in error_of(answer)["message"]
    assert upload(api, parts_of(second), replace="true").status_code == 201
    (kept,) = (folder / "models").iterdir()
    assert json.loads((kept / "files" / "config.json").read_text())["note"] == "two"
    manifest.verify(kept)
    assert api.client.delete("/models/mine").status_code == 204
    nothing_left(folder)


@pytest.mark.usefixtures("quick")
def test_a_licence_is_accepted_by_the_form(api: Running, folder: Path) -> None:
    speakers = {"speakers_xtts.pth": bundles.checkpoint({"Ana": {}})}
    cloner = parts_of(bundles.good(model="xtts", languages=["en", "de"]) | speakers)
    answer = upload(api, cloner, accepted_licenses="Other, CPML")
    assert (answer.status_code, answer.json()["license"], answer.json()["languages"]) == (201, "CPML", ["en", "de"])
    api.client.delete("/models/mine")
    nothing_left(folder)


def test_of_two_at_once_one_wins(api: Running, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)  # neither is published before both have passed every check
    publish_one = uploading._publish

    def together(*arguments: Any) -> Path:
        both.wait(PATIENCE)
        return publish_one(*arguments)

    async def believed(*_: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(uploading, "speak_confined", believed)
    monkeypatch.setattr(uploading, "_publish", together)
    sent = [bundles.good(note=note) | {"NOTICE": note.encode()} for note in ("one", "two")]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda files: upload(api, parts_of(files)), sent))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    winner = [answer.status_code for answer in answers].index(201)
    (kept,) = (folder / "models").iterdir()
    manifest.verify(kept)
    assert (kept / "files" / "NOTICE").read_bytes() == sent[winner]["NOTICE"]
    assert json.loads((kept / "files" / "config.json").read_text())["note"].encode() == sent[winner]["NOTICE"]
    api.client.delete("/models/mine")
    nothing_left(folder)


def test_other_pages_may_not_upload(api: Running) -> None:
    answer = api.client.post("/models/upload", content=b"", headers={**FORM, "Origin": "https://evil.example"})
    assert (answer.status_code, error_of(answer)["code"]) == (403, "origin_not_allowed")


def test_off_by_default(tmp_path: Path) -> None:
    with running(ToneEngine(), tmp_path) as server:
        for answer in (upload(server, packed(b"x")), server.client.delete("/models/mine")):
            assert (answer.status_code, error_of(answer)["code"]) == (403, "uploads_disabled")
            assert "VOXRAGA_UPLOADS_PATH" in error_of(answer)["message"]


def test_a_large_refused_upload_still_gets_its_answer(tmp_path: Path) -> None:
    with running(ToneEngine(), tmp_path) as server:
        assert upload(server, packed(bytes(16 << 20))).status_code == 403


def test_uploads_need_a_key(tmp_path: Path) -> None:
    (keys := tmp_path / "keys").mkdir()
    (keys / "key").write_text("secret")
    with running(ToneEngine(), tmp_path, uploads_path=tmp_path / "up", api_keys_path=keys) as server:
        assert upload(server, packed(b"x")).status_code == 401
        assert server.client.delete("/models/mine").status_code == 401
        assert server.client.delete("/models/mine", headers={"X-API-Key": "secret"}).status_code == 404


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "VOXRAGA_UPLOADS_WITHOUT_KEYS"),
        ({"uploads_without_keys": True, "task": "SpeechToText"}, "VOXRAGA_TASK TextToSpeech"),
        ({"uploads_without_keys": True, "models_preload": ["a", "b", "c"]}, "leaves 2 beside"),
        ({"uploads_without_keys": True, "uploads_path": Path("/proc/none")}, "VOXRAGA_UPLOADS_PATH"),
        ({"uploads_path": None, "models_preload": ["a"]}, "VOXRAGA_MODELS_PRELOAD"),
    ],
)
def test_settings_that_do_not_fit_together(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    values: dict[str, Any] = {"model_name": "n", "model_path": tmp_path, "uploads_path": tmp_path / "up", **settings}
    with pytest.raises(StartupError, match=said) as caught:
        open_uploads(load_settings(**values))
    assert caught.value.reason == "SettingsInvalid"


def test_kill_9_in_the_midst_of_an_upload(tmp_path: Path, speedy_bundle: Path) -> None:
    folder = tmp_path / "uploads"
    kept = publish(Uploads(folder), "kept", {"model.pth": b"x"})
    port = ports.free(1)[0]
    more = {"VOXRAGA_PORT": str(port), "VOXRAGA_UPLOADS_PATH": str(folder), "VOXRAGA_UPLOADS_WITHOUT_KEYS": "true"}
    process = subprocess.Popen(RUN, env=environment(tmp_path, speedy_bundle, **more), text=True,
                               stdout=subprocess.PIPE)  # fmt: skip
    written = threading.Event()

    def body() -> Iterator[bytes]:
        yield MODEL + b'--b\r\nContent-Disposition: form-data; name="model_file"; filename="m"\r\n\r\n'
        while not written.wait(0.01):
            yield bytes(1 << 20)
            if any(path.stat().st_size for path in (folder / "partial").rglob("incoming/*")):
                os.kill(process.pid, signal.SIGKILL)
                written.set()

    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            wait_ready(client, process)
            with pytest.raises(httpx.TransportError):
                client.post("/models/upload", content=body(), headers=FORM)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)
    assert len(list((folder / "partial").iterdir())) == 1
    uploads = Uploads(folder)
    uploads.prepare()  # what the next start does
    nothing_left(folder, "kept")
    manifest.verify(kept)


def test_of_a_broken_off_replacement_the_new_model_stays(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    old = publish(uploads, "mine", {"model.pth": b"old"})
    shutil.copytree(old, tmp_path / "kept")
    new = publish(uploads, "mine", {"model.pth": b"new"}, replace=True)
    (tmp_path / "kept").rename(old)  # as if the server had been killed before it removed it
    assert uploads.models() == {"mine": new}
    uploads.prepare()
    assert list((tmp_path / "models").iterdir()) == [new]


def test_a_start_leaves_the_uploads_of_others_alone(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    Uploads(folder).prepare()
    with Uploads(folder).workspace() as mine:
        prepare = "import sys, pathlib; from voxraga_runtime.store.uploads import Uploads; "
        prepare += "Uploads(pathlib.Path(sys.argv[1])).prepare()"
        subprocess.run([sys.executable, "-c", prepare, str(folder)], check=True, env={"PYTHONPATH": "runtime"})
        assert mine.is_dir()
    nothing_left(folder)
