"""The command as the Job runs it: exit codes, last words, idempotence, what is kept and what goes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.runtime.store import bundles
from tests.runtime.store.conftest import KEY, Fetch, environment
from tests.runtime.store.host import Host
from voxraga_runtime.store import manifest, publish, verify
from voxraga_runtime.store.manifest import File, Manifest, ModelInfo


def served(host: Host, files: dict[str, bytes], **more: Any) -> dict[str, Any]:
    """spec.source for files that the host serves."""
    return {
        "http": {
            "files": [{"url": host.put(f"/{path}", content, **more), "path": path} for path, content in files.items()]
        }
    }


def test_a_model_by_http_is_published_with_its_manifest(run: Fetch, host: Host) -> None:
    outcome = run(served(host, bundles.good()))

    assert outcome.code == 0
    assert outcome.message["outcome"] == "Published"
    assert outcome.message["model"] == {
        "name": "127.0.0.1",
        "architecture": "vits",
        "sampleRate": 22050,
        "languages": ["en"],
        "voices": ["default"],
        "license": "",
    }
    found = verify(outcome.store / "models" / KEY)
    assert outcome.message["digest"] == found.digest == manifest.digest_of(found.files)
    assert outcome.message["bytes"] == sum(file.bytes for file in found.files)
    assert [file.path for file in found.files] == ["config.json", "model.pth"]
    assert list((outcome.store / "partial").iterdir()) == []


def test_the_digest_is_the_contracts() -> None:
    files = [File(path="b", sha256="2" * 64, bytes=1), File(path="a", sha256="1" * 64, bytes=1)]
    # printf '%s  a\n%s  b\n' 111… 222… | sha256sum
    expected = "sha256:" + hashlib.sha256(f"{'1' * 64}  a\n{'2' * 64}  b\n".encode()).hexdigest()
    assert manifest.digest_of(files) == expected


def test_published_files_can_be_read_by_the_group(run: Fetch, host: Host) -> None:
    mask = os.umask(0o077)
    try:
        outcome = run(served(host, bundles.good()))
    finally:
        os.umask(mask)
    model = outcome.store / "models" / KEY
    assert [oct(path.stat().st_mode & 0o777) for path in (model, outcome.files)] == ["0o755", "0o755"]
    assert {oct(path.stat().st_mode & 0o777) for path in model.rglob("*") if path.is_file()} == {"0o644"}


def test_a_second_run_asks_nobody(run: Fetch, host: Host) -> None:
    source = served(host, bundles.good())
    first = run(source)
    asked = len(host.requests)
    assert run(source).message == first.message
    assert len(host.requests) == asked


def test_a_damaged_model_is_fetched_again(run: Fetch, host: Host) -> None:
    source = served(host, bundles.good())
    first = run(source)
    (first.files / "model.pth").write_bytes(b"rotten")
    again = run(source)
    assert again.message == first.message
    verify(again.store / "models" / KEY)
    assert list((again.store / "partial").iterdir()) == []


def test_other_keys_go_and_the_kept_one_stays(run: Fetch, host: Host) -> None:
    outcome = run(served(host, bundles.good()))
    for key in ("a" * 16, "b" * 16):
        bundles.write(outcome.store / "models" / key, {"manifest.json": b"{}"})
    bundles.write(outcome.store / "partial" / ("c" * 16), {"rest": b"x"})
    run(served(host, bundles.good()), VOXRAGA_KEEP=json.dumps(["a" * 16]))
    assert sorted(path.name for path in (outcome.store / "models").iterdir()) == sorted([KEY, "a" * 16])
    assert list((outcome.store / "partial").iterdir()) == []


def test_what_users_uploaded_is_none_of_the_fetchs_business(run: Fetch, host: Host) -> None:
    outcome = run(served(host, bundles.good()))
    mine = {"models/anna@1/manifest.json": b"{}", "partial/now/model.pth": b"x", ".lock": b""}
    bundles.write(outcome.store / "uploads", mine)
    run(served(host, bundles.good(output_path="/another")))
    left = (path for path in (outcome.store / "uploads").rglob("*") if path.is_file())
    assert {path.relative_to(outcome.store / "uploads").as_posix() for path in left} == mine.keys()


def test_nothing_goes_when_the_fetch_fails(run: Fetch, host: Host) -> None:
    outcome = run({"http": {"files": [{"url": host.url + "/none"}]}})
    bundles.write(outcome.store / "models" / ("a" * 16), {"manifest.json": b"{}"})
    assert run({"http": {"files": [{"url": host.url + "/none"}]}}).code == 2
    assert (outcome.store / "models" / ("a" * 16)).is_dir()


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("VOXRAGA_SOURCE", "{", "VOXRAGA_SOURCE is not valid JSON"),
        ("VOXRAGA_SOURCE", "{}", "exactly one of catalog, huggingFace, http, persistentVolumeClaim, builtin"),
        ("VOXRAGA_SOURCE", '{"builtin": {"name": "a"}, "catalog": {"name": "b"}}', "found 2"),
        ("VOXRAGA_SOURCE", '{"http": {"files": [{"url": "file:///etc/passwd"}]}}', "VOXRAGA_SOURCE.http.files.0.url"),
        (
            "VOXRAGA_SOURCE",
            '{"http": {"files": [{"url": "http://h/a", "sha256": "1"}]}}',
            "VOXRAGA_SOURCE.http.files.0.sha256",
        ),
        ("VOXRAGA_STORE_KEY", "../../etc", "VOXRAGA_STORE_KEY"),
        ("VOXRAGA_KEEP", "x", "VOXRAGA_KEEP is not valid JSON"),
        ("VOXRAGA_FETCH_TIMEOUT", "soon", "VOXRAGA_FETCH_TIMEOUT"),
    ],
)
def test_a_wrong_setting_is_named(run: Fetch, variable: str, value: str, expected: str) -> None:
    outcome = run({"builtin": {"name": "demo"}}, **{variable: value})
    assert outcome.code == 2
    assert outcome.message["reason"] == "SettingsInvalid"
    assert expected in outcome.message["message"]
    assert outcome.message["retriable"] is False


def test_a_source_with_empty_alternatives_is_one_source(run: Fetch, host: Host) -> None:
    assert run({**served(host, bundles.good()), "catalog": None}).code == 0


def test_voices_are_cut_to_fit_the_message(run: Fetch, host: Host) -> None:
    speakers = [f"speaker-{number:04}-ü" for number in range(900)]
    outcome = run(served(host, bundles.good(speakers=speakers, use_speaker_embedding=True)))
    text = (outcome.store.parent / "termination-log").read_bytes()
    assert len(text) <= 4000
    assert outcome.message["voicesTruncated"] is True
    assert 50 < len(outcome.message["model"]["voices"]) < 900
    assert outcome.manifest.model.voices == speakers


def test_a_full_store_is_said_with_sizes(run: Fetch, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    source = served(host, bundles.good())
    monkeypatch.setattr(
        "voxraga_runtime.store.disk.shutil.disk_usage",
        lambda _: SimpleNamespace(total=2 << 30, used=2 << 30, free=1 << 20),
    )

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("voxraga_runtime.store.disk.sync", full)
    outcome = run(source)
    assert (outcome.code, outcome.message["reason"]) == (1, "StoreFull")
    assert "1.0 MiB of 2.0 GiB are free" in outcome.message["message"]


def test_a_known_size_is_checked_before_anything_is_downloaded(
    run: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = bundles.write(tmp_path / "claim", bundles.good())
    monkeypatch.setattr(
        "voxraga_runtime.store.disk.shutil.disk_usage",
        lambda _: SimpleNamespace(total=1 << 20, used=1 << 20, free=100),
    )
    outcome = run({"persistentVolumeClaim": {"claimName": "c"}}, VOXRAGA_SOURCE_PATH=str(claim))
    assert (outcome.code, outcome.message["reason"]) == (1, "StoreFull")
    assert "more are needed" in outcome.message["message"]


def test_a_read_only_store_is_said(run: Fetch, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system", "/store/models")

    monkeypatch.setattr(Path, "mkdir", refused)
    outcome = run(served(host, bundles.good()))
    assert (outcome.code, outcome.message["reason"]) == (1, "StoreNotWritable")
    assert "/store/models" in outcome.message["message"]


def test_two_fetches_do_not_meet(run: Fetch, host: Host) -> None:
    outcome = run(served(host, bundles.good()))
    with publish.Store(outcome.store, KEY).lock(1):
        waiting = run(served(host, bundles.good()), VOXRAGA_LOCK_TIMEOUT="0.1")
    assert waiting.code == 1
    assert "another fetch" in waiting.message["message"]


def test_an_unexpected_error_is_worth_another_try(run: Fetch, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxraga_runtime.store.gate.admit", lambda *_: 1 / 0)
    outcome = run(served(host, bundles.good()))
    assert (outcome.code, outcome.message["reason"]) == (1, "InternalError")
    assert "ZeroDivisionError" in outcome.message["message"]


def test_sigterm_ends_at_once_and_the_next_run_resumes(tmp_path: Path, host: Host, run: Fetch) -> None:
    content = bundles.good() | {"model.pth": bundles.checkpoint({"pad": "x" * 3_000_000})}
    source = served(host, content)
    host.resources["/model.pth"].faults = [{"pace": 0.05}]
    store = tmp_path / "store"
    process = subprocess.Popen(
        [sys.executable, "-m", "voxraga_runtime", "fetch"],
        env=os.environ | environment(store, source) | {"PYTHONPATH": "runtime"},
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: sum(request.sent for request in host.to("/model.pth")) > 600_000)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 1  # the grace that a pod has
    message = json.loads((tmp_path / "termination-log").read_text())
    assert message["retriable"] is True
    assert "SIGTERM" in message["message"]
    assert run(source).code == 0
    second = host.to("/model.pth")[-1]
    assert second.status == 206
    assert second.sent < len(content["model.pth"]) - 300_000


def wait_for(condition: Any, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.01)


def test_serve_is_not_loaded_by_fetch() -> None:
    code = "import sys, voxraga_runtime.store.fetch as f; sys.exit('torch' in sys.modules or 'TTS' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": "runtime"})


def test_a_manifest_reads_back(tmp_path: Path) -> None:
    info = ModelInfo(name="n", architecture="vits", sample_rate=16000, languages=["en"], voices=["a"], license="MIT")
    made = Manifest(
        key=KEY, source={"builtin": {"name": "n"}}, revision="1", digest="sha256:0", bytes=0, files=[], model=info
    )
    (tmp_path / "manifest.json").write_text(made.dump())
    assert manifest.load(tmp_path) == made
    assert json.loads(made.dump())["model"]["sampleRate"] == 16000
