"""Recordings that come with a model that clones: taken from every source, checked by the gate, listed, spoken as."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.server import models
from tests.runtime.server.xtts import make_engine, record, xtts
from tests.runtime.store import bundles
from tests.runtime.store.conftest import Fetch
from tests.runtime.store.host import Host
from tests.runtime.store.hub import hub
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.store import gate
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.listing import Listing

Files = dict[str, bytes]
CARD = b'{"language": "en", "license": "CC0-1.0"}'


def contents(folder: Path) -> Files:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    model = xtts(tmp_path_factory.mktemp("xtts"))
    record(model, "Eva")
    record(model, "Eva", seconds=1.0)
    return contents(model / "files") | {"voices/Eva/voice.json": CARD}


def from_hub(host: Host, _folder: Path, files: Files) -> tuple[dict[str, Any], dict[str, str]]:
    hub(host, "someone/voices", files | {"samples/Eva.wav": b"RIFF"})
    return {"huggingFace": {"repo": "someone/voices"}}, {"HF_ENDPOINT": host.url}


def from_web(host: Host, _folder: Path, files: Files) -> tuple[dict[str, Any], dict[str, str]]:
    named = [{"url": host.put(f"/{path}", content), "path": path} for path, content in files.items()]
    return {"http": {"files": named}}, {}


def from_claim(_host: Host, folder: Path, files: Files) -> tuple[dict[str, Any], dict[str, str]]:
    bundles.write(folder / "claim", files)
    return {"persistentVolumeClaim": {"claimName": "shelf"}}, {"VOXRAGA_SOURCE_PATH": str(folder / "claim")}


Prepared = Callable[[Host, Path, Files], tuple[dict[str, Any], dict[str, str]]]


@pytest.mark.parametrize("prepared", [from_hub, from_web, from_claim])
def test_recordings_are_voices(run: Fetch, host: Host, tmp_path: Path, files: Files, prepared: Prepared) -> None:
    source, settings = prepared(host, tmp_path, files)
    outcome = run(source, VOXRAGA_ACCEPTED_LICENSES='["CPML"]', **settings)
    assert outcome.code == 0, outcome.message
    assert outcome.message["model"]["voices"] == ["Ana", "Bo", "Eva"]
    assert {path for path in contents(outcome.files) if path.startswith("voices/")} == {
        "voices/Eva/clip0.wav",
        "voices/Eva/clip1.wav",
        "voices/Eva/voice.json",
    }
    assert not (outcome.files / "samples").exists()


def test_the_server_has_the_voices_that_were_listed(run: Fetch, host: Host, tmp_path: Path, files: Files) -> None:
    source, settings = from_claim(host, tmp_path, files)
    outcome = run(source, VOXRAGA_ACCEPTED_LICENSES='["CPML"]', **settings)
    model = outcome.store / "models" / outcome.manifest.key
    engine = make_engine(model)
    engine.load()
    assert [voice.id for voice in engine.voices()] == outcome.manifest.model.voices
    (eva,) = (voice for voice in engine.voices() if voice.id == "Eva")
    assert (eva.language, eva.license) == ("en", "CC0-1.0")


def test_a_model_that_speaks_by_vectors_clones_too(run: Fetch, host: Host, tmp_path: Path) -> None:
    made = models.vits(tmp_path / "made", ("anna", "bert"), d_vectors=True, encoder=True)
    record(made, "Eva")
    source, settings = from_claim(host, tmp_path, contents(made / "files"))
    outcome = run(source, **settings)
    assert outcome.code == 0, outcome.message
    assert outcome.manifest.model.voices == ["anna", "bert", "Eva"]
    engine = CoquiEngine(outcome.store / "models" / outcome.manifest.key, "cpu")
    engine.load()
    assert [voice.id for voice in engine.voices()] == outcome.manifest.model.voices


def quiet(folder: Path) -> None:
    record(folder, "Mute", level=0.0)


def low(folder: Path) -> None:
    record(folder, "Telephone", rate=8000)


def short(folder: Path) -> None:
    record(folder, "Short", seconds=1.0)


def odd(folder: Path) -> None:
    record(folder, "-rf")


def empty(folder: Path) -> None:
    (folder / "files/voices/Nobody").mkdir(parents=True)
    (folder / "files/voices/Nobody/NOTICE").write_text("to come")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (quiet, "clip0.wav is silent"),
        (low, "clip0.wav has 8000 Hz; at least 16000 are needed"),
        (short, "Short has 1.0 s of recordings; 2 s are needed"),
        (odd, "'-rf' is no name for a voice"),
        (empty, "Nobody has 0 recordings"),
    ],
)
def test_recordings_that_can_not_be_a_voice(
    tmp_path: Path, files: Files, spoil: Callable[[Path], None], told: str
) -> None:
    bundles.write(tmp_path / "files", files)
    spoil(tmp_path)
    with pytest.raises(StoreError) as refused:
        gate.admit(tmp_path / "files", Listing("here", ()), ["CPML"])
    assert refused.value.reason == "InvalidModel"
    assert told in refused.value.message


def test_a_model_that_clones_needs_somebody_to_speak_as(tmp_path: Path, files: Files) -> None:
    bundles.write(tmp_path, {path: files[path] for path in ("config.json", "model.pth", "vocab.json")})
    with pytest.raises(StoreError, match=r"neither speakers_xtts\.pth nor a folder voices/NAME"):
        gate.admit(tmp_path, Listing("here", ()), ["CPML"])


def test_another_model_may_have_a_folder_of_that_name(tmp_path: Path) -> None:
    bundles.write(tmp_path, bundles.good() | {"voices/README/a.txt": b"not recordings"})
    assert gate.admit(tmp_path, Listing("here", ()), []).voices == ["default"]
