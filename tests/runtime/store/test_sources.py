"""Each source: what it lists, what it verifies, and what it says when it cannot."""

import base64
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.runtime.store import bundles
from tests.runtime.store.bundles import good
from tests.runtime.store.conftest import Fetch
from tests.runtime.store.host import Host
from tests.runtime.store.hub import COMMIT, hub
from voxraga_runtime.store import StoreError, archive
from voxraga_runtime.store.settings import HuggingFace
from voxraga_runtime.store.sources import catalog, huggingface

VITS = "tts_models/en/ljspeech/vits"


def test_every_entry_of_the_catalogue_says_where_its_files_are() -> None:
    entries = catalog.entries()
    assert len(entries) == 95
    assert [name for name, entry in entries.items() if not catalog.plan(entry)] == []
    for entry in entries.values():
        for _, place in catalog.plan(entry):
            assert place.startswith("https://") or HuggingFace(repo=place)


def test_every_vocoder_of_the_catalogue_exists() -> None:
    for entry in catalog.entries().values():
        assert all(folder in ("", "vocoder") for folder, _ in catalog.with_vocoder(entry))


def test_the_licence_gate_knows_its_two_models() -> None:
    asking = [name for name, entry in catalog.entries().items() if entry.tos_required]
    assert [name.rsplit("/", 1)[1] for name in asking] == ["xtts_v2", "xtts_v1.1"]


def at_mirror(host: Host, name: str, files: dict[str, bytes]) -> None:
    for url in catalog.find(name).archives:
        path = catalog.mirrored(url, "")
        host.put(path.removeprefix("https://github.com"), bundles.archive({f"top/{p}": c for p, c in files.items()}))


def test_a_catalogue_model_by_its_archive(run: Fetch, host: Host) -> None:
    at_mirror(host, VITS, good() | {".DS_Store": b"", "sub/extra.txt": b"x"})
    outcome = run({"catalog": {"name": VITS}}, VOXRAGA_CATALOG_MIRROR=host.url + "/")
    assert outcome.code == 0, outcome.message
    assert [file.path for file in outcome.manifest.files] == ["config.json", "model.pth", "sub/extra.txt"]
    assert outcome.manifest.revision == "v0.6.1_models"
    assert outcome.manifest.source == {"catalog": {"name": VITS}}
    model = outcome.manifest.model
    assert (model.name, model.license, model.languages) == (VITS, "apache 2.0", ["en"])


def test_its_vocoder_comes_along(run: Fetch, host: Host) -> None:
    name = "tts_models/en/ljspeech/fast_pitch"
    at_mirror(host, name, good(model="fast_pitch"))
    vocoder = {"config.json": json.dumps({"model": "hifigan", "audio": {"sample_rate": 22050}}).encode()}
    at_mirror(host, "vocoder_models/en/ljspeech/hifigan_v2", vocoder | {"model_file.pth": bundles.checkpoint()})
    outcome = run({"catalog": {"name": name}}, VOXRAGA_CATALOG_MIRROR=host.url)
    assert outcome.code == 0, outcome.message
    paths = [file.path for file in outcome.manifest.files]
    assert paths == ["config.json", "model.pth", "vocoder/config.json", "vocoder/model.pth"]


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        ("tts_models/en/vctk/vit", "UnknownCatalogModel", "did you mean tts_models/en/vctk/vits"),
        ("zzzzzzzz", "UnknownCatalogModel", "zzzzzzzz"),
        ("tts_models/multilingual/multi-dataset/xtts_v2", "LicenseNotAccepted", "spec.license.accepted: [CPML]"),
        ("tts_models/multilingual/multi-dataset/bark", "UnsupportedModel", "bark"),
        ("tts_models/eng/fairseq/vits", "UnsupportedModel", "fairseq"),
        ("vocoder_models/en/ljspeech/hifigan_v2", "UnsupportedModel", "tts_models/"),
    ],
)
def test_a_catalogue_name_that_cannot_be(run: Fetch, name: str, reason: str, said: str) -> None:
    outcome = run({"catalog": {"name": name}})
    assert (outcome.code, outcome.message["reason"]) == (2, reason)
    assert said in outcome.message["message"]


HUB_FILES = good() | {"README.md": b"# a voice", "sample.wav": b"RIFF", ".gitattributes": b"x"}


def test_a_repository_at_its_commit(run: Fetch, host: Host) -> None:
    hub(host, "someone/voice", HUB_FILES, "v1")
    outcome = run({"huggingFace": {"repo": "someone/voice", "revision": "v1"}}, HF_ENDPOINT=host.url)
    assert outcome.code == 0, outcome.message
    assert outcome.manifest.revision == COMMIT
    assert [file.path for file in outcome.manifest.files] == ["README.md", "config.json", "model.pth"]
    assert (outcome.manifest.model.name, outcome.manifest.model.license) == ("someone/voice", "mit")


def test_a_private_repository_takes_the_secrets_token(run: Fetch, host: Host, tmp_path: Path) -> None:
    hub(host, "someone/voice", HUB_FILES, needs="Bearer hf_x")
    source = {"huggingFace": {"repo": "someone/voice"}}
    assert run(source, HF_ENDPOINT=host.url).message["reason"] == "SourceForbidden"
    secret = bundles.write(tmp_path / "secret", {"token": b"hf_x\n"})
    outcome = run(source, HF_ENDPOINT=host.url, VOXRAGA_SECRET_PATH=str(secret))
    assert outcome.code == 0, outcome.message
    assert "hf_x" not in (outcome.store.parent / "termination-log").read_text()


def test_a_large_files_hash_is_verified(run: Fetch, host: Host) -> None:
    hub(host, "someone/voice", HUB_FILES)
    content = HUB_FILES["model.pth"]
    host.put(f"/someone/voice/resolve/{COMMIT}/model.pth", content[:-1] + b"!")
    outcome = run({"huggingFace": {"repo": "someone/voice"}}, HF_ENDPOINT=host.url)
    assert outcome.message["reason"] == "ChecksumMismatch"
    assert "model.pth is" in outcome.message["message"]


def test_an_unknown_repository(run: Fetch, host: Host) -> None:
    outcome = run({"huggingFace": {"repo": "no/body"}}, HF_ENDPOINT=host.url)
    assert (outcome.code, outcome.message["reason"]) == (2, "SourceNotFound")


def test_a_list_that_goes_on_elsewhere_is_not_followed(run: Fetch, host: Host) -> None:
    hub(host, "a/b", HUB_FILES)
    link = {"Link": f'<{host.other_url}/api/more>; rel="next"'}
    host.put(f"/api/models/a/b/tree/{COMMIT}?recursive=true", b"[]", headers=link)
    assert run({"huggingFace": {"repo": "a/b"}}, HF_ENDPOINT=host.url).message["reason"] == "SourceUnreachable"


@pytest.mark.parametrize(
    ("path", "include", "exclude", "expected"),
    [
        ("model.pth", [], [], True),
        ("samples/a.wav", [], [], False),
        ("voices/anna/a.wav", [], [], True),
        ("model/voices/anna/a.flac", [], [], True),
        ("voices/anna/voice.json", [], [], True),
        ("voices/anna.wav", [], [], False),
        ("voices/anna/weights.safetensors", [], [], False),
        ("voices/anna/a.wav", [], ["voices/*"], False),
        ("samples/a.wav", ["samples/*"], [], True),
        ("dvae.pth", [], ["samples/*", "dvae.pth"], False),
        ("other.pth", ["model.pth"], [], False),
        (".gitattributes", [], [], False),
    ],
)
def test_which_files_of_a_repository(path: str, include: list[str], exclude: list[str], expected: bool) -> None:
    assert huggingface.wanted(path, include, exclude) is expected


def test_http_with_user_and_password(run: Fetch, host: Host, tmp_path: Path) -> None:
    needs = "Basic " + base64.b64encode(b"me:secret").decode()
    files = [{"url": host.put(f"/{path}", content, needs=needs)} for path, content in good().items()]
    secret = bundles.write(tmp_path / "secret", {"username": b"me", "password": b"secret"})
    assert run({"http": {"files": files}}, VOXRAGA_SECRET_PATH=str(secret)).code == 0


@pytest.mark.parametrize(
    ("secret", "said"),
    [({}, "found none"), ({"username": b"me"}, "['username']"), ({"token": b"a\nb"}, "no header")],
)
def test_a_secret_without_its_keys(run: Fetch, host: Host, tmp_path: Path, secret: dict[str, bytes], said: str) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    bundles.write(folder, secret)
    outcome = run({"http": {"files": [{"url": host.url + "/m"}]}}, VOXRAGA_SECRET_PATH=str(folder))
    assert outcome.message["reason"] == "SecretInvalid"
    assert said in outcome.message["message"]


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../x", ".hidden", "a\\b", "a//b"])
def test_a_path_out_of_the_bundle(run: Fetch, host: Host, path: str) -> None:
    outcome = run({"http": {"files": [{"url": host.url + "/m", "path": path}]}})
    assert outcome.message["reason"] == "UnsafeModel"
    assert "spec.source.http.files[0]" in outcome.message["message"]


def test_two_files_at_one_place(run: Fetch) -> None:
    files = [{"url": "http://127.0.0.1:9/a/model.pth"}, {"url": "http://127.0.0.1:9/b/model.pth"}]
    assert "more than once" in run({"http": {"files": files}}).message["message"]


def test_http_by_archive(run: Fetch, host: Host) -> None:
    outcome = run({"http": {"files": [{"url": host.put("/voice.zip", bundles.archive(good()))}]}})
    assert outcome.code == 0, outcome.message


def test_a_folder_of_a_claim(run: Fetch, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    bundles.write(claim / "voices/ann", good())
    (claim / "blob").write_bytes(b"notice")
    (claim / "voices/ann/NOTICE").symlink_to("../../blob")
    source = {"persistentVolumeClaim": {"claimName": "models", "path": "voices/ann"}}
    outcome = run(source, VOXRAGA_SOURCE_PATH=str(claim))
    assert outcome.code == 0, outcome.message
    assert (outcome.files / "NOTICE").read_bytes() == b"notice"
    assert not (outcome.files / "NOTICE").is_symlink()
    assert outcome.manifest.revision == outcome.manifest.digest


@pytest.mark.parametrize(
    ("path", "reason"),
    [("../..", "UnsafeModel"), ("none", "SourceNotFound"), ("empty", "SourceNotFound"), ("out", "UnsafeModel")],
)
def test_a_folder_that_cannot_be(run: Fetch, tmp_path: Path, path: str, reason: str) -> None:
    (tmp_path / "claim/empty").mkdir(parents=True)
    (tmp_path / "claim/out").symlink_to("/etc")
    source = {"persistentVolumeClaim": {"claimName": "models", "path": path}}
    assert run(source, VOXRAGA_SOURCE_PATH=str(tmp_path / "claim")).message["reason"] == reason


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "/nowhere"])
def test_a_link_out_of_the_claim(run: Fetch, tmp_path: Path, target: str) -> None:
    claim = bundles.write(tmp_path / "claim", good())
    (claim / "speakers.json").symlink_to(target)
    outcome = run({"persistentVolumeClaim": {"claimName": "models", "path": None}}, VOXRAGA_SOURCE_PATH=str(claim))
    assert outcome.message["reason"] == "UnsafeModel"
    assert "speakers.json" in outcome.message["message"]


def test_a_voice_of_the_image(run: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles.write(tmp_path / "voices/tiny", good() | {"NOTICE": b"n"})
    monkeypatch.setattr("voxraga_runtime.store.sources.local.voices", lambda: tmp_path / "voices")
    missing = run({"builtin": {"name": "huge"}})
    assert missing.message["reason"] == "SourceNotFound"
    assert "there are: tiny" in missing.message["message"]
    assert run({"builtin": {"name": "tiny"}}).code == 0


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        for info, content in members:
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


def link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("a/link")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def zip_link() -> bytes:
    info = zipfile.ZipInfo("a/link")
    info.external_attr = 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(info, "/etc/passwd")
    return out.getvalue()


ARCHIVES = {
    "a zip upwards": (bundles.archive({"../../x": b"1"}), "UnsafeModel"),
    "a zip from the root": (bundles.archive({"/etc/x": b"1"}), "UnsafeModel"),
    "a zip with backslashes": (bundles.archive({"a\\..\\x": b"1"}), "UnsafeModel"),
    "a zip bomb": (bundles.archive({"x": bytes(80 << 20)}), "UnsafeModel"),
    "a zip of many": (bundles.archive({f"a/{number}": b"" for number in range(2100)}), "UnsafeModel"),
    "a zip with a link": (zip_link(), "UnsafeModel"),
    "half a zip": (bundles.archive({"x": b"1" * 999})[:-30], "InvalidModel"),
    "a tar upwards": (tar((tarfile.TarInfo("a/../../x"), b"1")), "UnsafeModel"),
    "a tar with a symbolic link": (tar((link(tarfile.SYMTYPE), b"")), "UnsafeModel"),
    "a tar with a hard link": (tar((link(tarfile.LNKTYPE), b"")), "UnsafeModel"),
    "a tar with a device": (tar((link(tarfile.CHRTYPE), b"")), "UnsafeModel"),
    "half a tar": (tar((tarfile.TarInfo("a"), bytes(9999)))[:-30], "InvalidModel"),
    "a web page": (b"<!DOCTYPE html>", "InvalidModel"),
}


@pytest.mark.parametrize(("content", "reason"), ARCHIVES.values(), ids=ARCHIVES)
def test_a_bad_archive(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(StoreError, match=reason) as caught:
        archive.extract(tmp_path / "archive", tmp_path / "out/files", "voice.zip")
    assert "voice.zip" in caught.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out"]


def test_a_good_tar(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tar((tarfile.TarInfo("./eng/config.json"), b"{}"), (tarfile.TarInfo("./eng/m"), b"1")))
    archive.extract(tmp_path / "a", tmp_path / "out", "a.tar.gz")
    assert (tmp_path / "out/config.json").read_bytes() == b"{}"
