"""The gate: bundles that would run code, read elsewhere, or are simply wrong; each with the reason and place named."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.store import bundles
from tests.runtime.store.bundles import Call, checkpoint, good
from voxraga_runtime.store import config as configs
from voxraga_runtime.store import gate, pickles
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.listing import Listing
from voxraga_runtime.store.manifest import ModelInfo


def admit(folder: Path, files: dict[str, bytes], *accepted: str, **listing: Any) -> ModelInfo:
    bundles.write(folder, files)
    return gate.admit(folder, Listing(**{"name": "here", "files": (), **listing}), list(accepted))


def config_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text()))


def array(value: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array(value, dtype=object), allow_pickle=True)
    return out.getvalue()


def statistics(**more: Any) -> dict[str, Any]:
    names = ("mel_mean", "mel_std", "linear_mean", "linear_std")
    return {name: np.arange(4, dtype=np.float32) for name in names} | {"audio_config": {"num_mels": 80}} | more


SPEAKERS = {"use_speaker_embedding": True}
DANGER = Call(os.system, "touch /tmp/voxraga-was-here")
AUDIO = {"sample_rate": 22050, "signal_norm": True, "stats_path": "scale_stats.npy"}

BAD: dict[str, tuple[dict[str, bytes], str, str]] = {
    "weights that call a function": (good() | {"model.pth": checkpoint(DANGER)}, "UnsafeModel", "system"),
    "weights with eval": (good() | {"model.pth": checkpoint(Call(eval, "1"))}, "UnsafeModel", "eval"),
    "weights that are a bare pickle": (
        good() | {"model.pth": pickle.dumps(DANGER, protocol=2)},
        "UnsafeModel",
        "system",
    ),
    "weights of a newer protocol": (good() | {"model.pth": pickle.dumps(DANGER, protocol=4)}, "UnsafeModel", "opcode"),
    "other weights beside": (good() | {"speakers_more.pth": checkpoint(DANGER)}, "UnsafeModel", "speakers_more.pth"),
    "compressed weights": (
        good() | {"model.pth": checkpoint(compression=zipfile.ZIP_DEFLATED)},
        "UnsafeModel",
        "compressed",
    ),
    "a TorchScript program": (
        good() | {"model.pth": bundles.archive({"a/constants.pkl": b"x", "a/data.pkl": b"x"}, zipfile.ZIP_STORED)},
        "UnsafeModel",
        "TorchScript",
    ),
    "truncated weights": (good() | {"model.pth": checkpoint()[:-40]}, "InvalidModel", "model.pth"),
    "empty weights": (good() | {"model.pth": b""}, "InvalidModel", "model.pth"),
    "a web page as weights": (good() | {"model.pth": b"<!DOCTYPE html>"}, "InvalidModel", "begins like no checkpoint"),
    "a pickle beside": (good() | {"cache.pkl": pickle.dumps({})}, "UnsafeModel", "cache.pkl"),
    "statistics that call a function": (
        good(audio=AUDIO) | {"scale_stats.npy": array({"mel_mean": DANGER})},
        "UnsafeModel",
        "scale_stats.npy: it would import 'posix.system'",
    ),
    "statistics nobody asks for": (good() | {"more.npy": array({"mel_mean": DANGER})}, "UnsafeModel", "more.npy"),
    "statistics under another name": (
        good(audio=AUDIO | {"stats_path": "stats.bin"}) | {"stats.bin": array(statistics())},
        "UnsafeModel",
        "stats_path",
    ),
    "statistics that are no dict": (good(audio=AUDIO) | {"scale_stats.npy": array([1])}, "InvalidModel", "ndarray"),
    "statistics of text": (
        good(audio=AUDIO) | {"scale_stats.npy": array(statistics(mel_mean="x"))},
        "UnsafeModel",
        "mel_mean",
    ),
    "damaged statistics": (good(audio=AUDIO) | {"scale_stats.npy": b"\x93NUMPY"}, "InvalidModel", "scale_stats.npy"),
    "statistics elsewhere": (
        good(audio=AUDIO | {"stats_path": "/etc/stats.npy"}),
        "UnsafeModel",
        "audio.stats_path is '/etc/stats.npy'",
    ),
    "statistics missing": (good(audio=AUDIO), "InvalidModel", "scale_stats.npy"),
    "a class by name": (
        good(characters={"characters_class": "os.system"}),
        "UnsafeModel",
        "characters.characters_class",
    ),
    "a class by name, deeper": (good(more=[{"loss_class": "subprocess.Popen"}]), "UnsafeModel", "more[0].loss_class"),
    "a cleaner that is none": (good(text_cleaner="os"), "UnsafeModel", "text_cleaner"),
    "a cleaner with a path": (good(text_cleaner="a.b_cleaners"), "UnsafeModel", "text_cleaner"),
    "a URL as speakers": (
        good(speakers_file="http://169.254.169.254/x.json", **SPEAKERS),
        "UnsafeModel",
        "speakers_file",
    ),
    "a bucket as speakers": (
        good(model_args={"use_d_vector_file": True, "d_vector_file": ["s3://bucket/speakers.pth"]}),
        "UnsafeModel",
        "model_args.d_vector_file",
    ),
    "an absolute path": (good(speakers_file="/etc/passwd", **SPEAKERS), "UnsafeModel", "'/etc/passwd'"),
    "a path upwards": (good(speakers_file="../../x.json", **SPEAKERS), "UnsafeModel", "speakers_file"),
    "a chained protocol": (
        good(speakers_file="filecache::http://h/x.json", **SPEAKERS),
        "UnsafeModel",
        "speakers_file",
    ),
    "speakers missing": (good(speakers_file="speaker_ids.json", **SPEAKERS), "InvalidModel", "speaker_ids.json"),
    "speakers of another kind": (
        good(speakers_file="speakers.yaml", **SPEAKERS) | {"speakers.yaml": b"a: 1"},
        "UnsafeModel",
        "speakers.yaml",
    ),
    "a number as path": (good(speakers_file=7), "UnsafeModel", "speakers_file is 7"),
    "a model that unpickles": (good(model="bark"), "UnsupportedModel", "'bark'"),
    "a module as model": (good(model="..vc.x"), "UnsupportedModel", "model"),
    "another base model": (good(model="vits", base_model="bark"), "UnsupportedModel", "base_model"),
    "a network by path": (good(generator_model="os.path"), "UnsafeModel", "generator_model"),
    "no model at all": (good(model=None), "InvalidModel", "no key 'model'"),
    "no sample rate": (good(audio={"signal_norm": False}), "InvalidModel", "audio.sample_rate"),
    "no config": ({"model.pth": checkpoint()}, "InvalidModel", "config.json"),
    "a config that is no JSON": (good() | {"config.json": b"model: vits"}, "InvalidModel", "config.json is not JSON"),
    "a config that is a list": (good() | {"config.json": b"[]"}, "InvalidModel", "expected an object"),
    "a config that is deep": (good() | {"config.json": b"[" * 100_000}, "InvalidModel", "config.json"),
    "no weights": ({"config.json": good()["config.json"]}, "InvalidModel", "model.pth"),
    "two models": (
        {"config.json": good()["config.json"], "a.pth": checkpoint(), "b.pth": checkpoint()},
        "InvalidModel",
        "a.pth, b.pth",
    ),
    "a vocoder without config": (good() | {"vocoder/model.pth": checkpoint()}, "InvalidModel", "vocoder/config.json"),
    "a vocoder that is none": (
        good() | {"vocoder/model.pth": checkpoint(), "vocoder/config.json": json.dumps({"model": "vits"}).encode()},
        "UnsupportedModel",
        "vocoder/config.json",
    ),
    "an encoder's statistics": (
        good(speaker_encoder_config_path="config_se.json")
        | {
            "config_se.json": json.dumps(
                {"model": "speaker_encoder", "audio": AUDIO | {"stats_path": "/s.npy"}}
            ).encode(),
        },
        "UnsafeModel",
        "config_se.json: audio.stats_path",
    ),
    "a hidden file": (good() | {".bashrc": b""}, "UnsafeModel", ".bashrc"),
    "a name with a line break": (good() | {"a\nb": b""}, "UnsafeModel", "a\\nb"),
    "an xtts that nobody accepted": (good(model="xtts"), "LicenseNotAccepted", "spec.license.accepted: [CPML]"),
}


@pytest.mark.parametrize(("files", "reason", "said"), BAD.values(), ids=BAD)
def test_refused(tmp_path: Path, files: dict[str, bytes], reason: str, said: str) -> None:
    with pytest.raises(StoreError) as caught:
        admit(tmp_path, files)
    assert caught.value.reason == reason
    assert said in caught.value.message
    assert not caught.value.retriable
    assert not Path("/tmp/voxraga-was-here").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "NOTICE").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match="NOTICE is not a plain file"):
        admit(tmp_path, good())


def test_training_leaves_no_path_behind(tmp_path: Path) -> None:
    admit(
        tmp_path,
        good(speakers_file="/home/somebody/speakers.json", phoneme_cache_path="/x", mel_norm_file="http://h/m"),
    )
    text = (tmp_path / "config.json").read_text()
    assert "/home" not in text
    assert "http" not in text
    assert "/data" not in text
    assert config_of(tmp_path)["characters"]["characters"] == "abc"


def test_a_foreign_path_becomes_the_bundles_file(tmp_path: Path) -> None:
    speakers = json.dumps({"ann": 0, "bob": 1}).encode()
    changed = good(speakers_file="/home/x/speaker_ids.json", model_args={"speakers_file": None}, **SPEAKERS)
    info = admit(tmp_path, changed | {"speaker_ids.json": speakers})
    assert info.voices == ["ann", "bob"]
    config = config_of(tmp_path)
    # coqui-tts asks model_args first and takes null for an answer
    assert config["speakers_file"] == config["model_args"]["speakers_file"] == "speaker_ids.json"
    placed = configs.absolute(config, tmp_path)
    assert placed["model_args"]["speakers_file"] == str(tmp_path / "speaker_ids.json")


def test_what_was_empty_stays_as_it_was(tmp_path: Path) -> None:
    empty = {"speakers_file": "", "d_vector_file": [], "language_ids_file": None, "tokenizer_file": ""}
    admit(tmp_path, good(model_args=empty, **empty))
    config = config_of(tmp_path)
    assert {key: config[key] for key in empty} == {key: config["model_args"][key] for key in empty} == empty


def test_statistics_are_rewritten_with_the_same_numbers(tmp_path: Path) -> None:
    admit(tmp_path, good(audio=AUDIO) | {"scale_stats.npy": array(statistics())})
    # as coqui-tts loads it
    loaded = np.load(tmp_path / "scale_stats.npy", allow_pickle=True).item()
    assert loaded["mel_mean"].tolist() == [0, 1, 2, 3]
    assert loaded["audio_config"] == {"num_mels": 80}


def test_comments_in_a_config_are_understood(tmp_path: Path) -> None:
    text = b'{"model": "vits", // the type\n /* rates */ "audio": {"sample_rate": 8000, "note": "a // b"}}'
    assert admit(tmp_path, good() | {"config.json": text}).sample_rate == 8000
    assert config_of(tmp_path)["audio"]["note"] == "a // b"


@pytest.mark.parametrize("name", ["model_file.pth", "model_file.pth.tar", "best_model.pth", "best_model_30824.pth"])
def test_the_checkpoint_gets_its_name(tmp_path: Path, name: str) -> None:
    files = {
        "deep/config.json": good()["config.json"],
        f"deep/{name}": checkpoint(),
        "deep/speakers.pth": checkpoint({}),
    }
    admit(tmp_path, files)
    assert (tmp_path / "model.pth").is_file()
    assert (tmp_path / "config.json").is_file()


def test_a_vocoder_decides_the_sample_rate(tmp_path: Path) -> None:
    vocoder = json.dumps({"generator_model": "hifigan_generator", "audio": {"sample_rate": 24000}}).encode()
    files = good() | {"vocoder/config.json": vocoder, "vocoder/model_file.pth.tar": checkpoint()}
    assert admit(tmp_path, files).sample_rate == 24000
    assert (tmp_path / "vocoder/model.pth").is_file()


def test_xtts_with_its_licence_accepted(tmp_path: Path) -> None:
    speakers = checkpoint({"Ana": {"gpt_cond_latent": 1}, "Bo": {"gpt_cond_latent": 1}})
    files = good(model="xtts", languages=["en", "zh-cn"], model_args={"tokenizer_file": ""})
    info = admit(tmp_path, files | {"speakers_xtts.pth": speakers, "vocab.json": b"{}"}, "cpml")
    assert (info.voices, info.languages, info.license) == (["Ana", "Bo"], ["en", "zh-cn"], "CPML")


def test_d_vectors_name_the_speakers_not_the_clips(tmp_path: Path) -> None:
    clips = {f"clip{n}": {"name": name, "embedding": [0.1]} for n, name in enumerate(["ann", "ann", "bob"])}
    changed = good(model_args={"use_d_vector_file": True, "d_vector_file": ["speakers.pth"]})
    assert admit(tmp_path, changed | {"speakers.pth": checkpoint(clips)}).voices == ["ann", "bob"]


def test_languages_by_file(tmp_path: Path) -> None:
    changed = good(use_language_embedding=True, language_ids_file="language_ids.json")
    info = admit(tmp_path, changed | {"language_ids.json": json.dumps({"fr-fr": 1, "en": 0}).encode()})
    assert info.languages == ["en", "fr-fr"]


def test_a_card_has_the_last_word(tmp_path: Path) -> None:
    card = {"name": "Demo", "languages": ["en"], "voices": [{"id": "slt"}, "rms"], "license": "X"}
    info = admit(tmp_path, good() | {"voice.json": json.dumps(card).encode()}, name="demo")
    assert (info.name, info.voices, info.license) == ("Demo", ["slt", "rms"], "X")


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_what_torch_saves_is_admitted_and_read(tmp_path: Path, torch: Any, zipped: bool) -> None:
    content = {
        "model": {"w": torch.ones(3, dtype=torch.float16), "b": torch.nn.Parameter(torch.ones(2))},
        "names": {"ann", "bob"},
        "size": torch.Size([1, 2]),
        "dtype": torch.float32,
        "step": 12,
    }
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    torch.load(path, weights_only=True)
    pickles.check(path, "model.pth")
    read = pickles.read(path, "model.pth")
    assert list(read) == list(content)
    assert read["step"] == 12
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StoreError, match=r"model\.pth is not a readable checkpoint"):
        pickles.check(path, "model.pth")


@pytest.mark.parametrize(
    "content",
    [DANGER, Call(getattr, {}, "x"), {"a": Call(Path, "/")}, np.float32(1)],
    ids=["danger", "getattr", "path", "numpy"],
)
def test_what_torch_refuses_is_refused(tmp_path: Path, torch: Any, content: Any) -> None:
    path = tmp_path / "model.pth"
    torch.save({"model": content}, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    with pytest.raises(StoreError):
        pickles.check(path, "model.pth")
