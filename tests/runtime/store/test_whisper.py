"""Whisper from a source into the store: which files are taken, what the gate refuses, and that the server hears."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch

from tests.runtime.server.harness import running
from tests.runtime.server.whisper import whisper as tiny
from tests.runtime.store import bundles
from tests.runtime.store.conftest import Fetch
from tests.runtime.store.host import Host
from tests.runtime.store.hub import COMMIT, hub
from voxraga_runtime.common.encoding import FORMATS, encode
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server import main
from voxraga_runtime.server.engines.whisper import WhisperEngine
from voxraga_runtime.store import whisper
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.listing import Listing, Remote
from voxraga_runtime.store.manifest import ModelInfo

Files = dict[str, bytes]
HEARS = {"VOXRAGA_TASK": "SpeechToText"}
REPOSITORY = {"huggingFace": {"repo": "someone/ear"}}
PUBLISHED = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
]
ELSEWHERE: Files = {
    "README.md": b"# an ear",
    "pytorch_model.bin": b"PK\x03\x04",
    "flax_model.msgpack": b"x",
    "model.fp32-00001-of-00002.safetensors": b"x",
    "onnx/model.safetensors": b"x",
    "onnx/config.json": b"{}",
    "modeling_ear.py": b"import os",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tiny(tmp_path_factory.mktemp("whisper")) / "files"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed(content: bytes, **changes: Any) -> bytes:
    """A JSON file with other keys; None takes one away."""
    values = json.loads(content) | changes
    return json.dumps({key: value for key, value in values.items() if value is not None}).encode()


def admit(folder: Path, files: Files) -> ModelInfo:
    bundles.write(folder, files)
    return whisper.admit(folder, Listing(name="ear", files=(), license="mit"))


# --- from a source to an answer ---


def from_hub(host: Host, _folder: Path, files: Files) -> tuple[dict[str, Any], dict[str, str]]:
    hub(host, "someone/ear", files | ELSEWHERE)
    return REPOSITORY, {"HF_ENDPOINT": host.url}


def from_web(host: Host, _folder: Path, files: Files) -> tuple[dict[str, Any], dict[str, str]]:
    named = [{"url": host.put(f"/{path}", content), "path": path} for path, content in files.items()]
    return {"http": {"files": named}}, {}


def from_archive(host: Host, _folder: Path, files: Files) -> tuple[dict[str, Any], dict[str, str]]:
    packed = bundles.archive({f"a/b/{path}": content for path, content in (files | ELSEWHERE).items()})
    return {"http": {"files": [{"url": host.put("/ear.zip", packed)}]}}, {}


def from_claim(_host: Host, folder: Path, files: Files) -> tuple[dict[str, Any], dict[str, str]]:
    bundles.write(folder / "claim/2026/ear", files | ELSEWHERE)
    source = {"persistentVolumeClaim": {"claimName": "shelf", "path": "2026"}}
    return source, {"VOXRAGA_SOURCE_PATH": str(folder / "claim")}


Prepared = Callable[[Host, Path, Files], tuple[dict[str, Any], dict[str, str]]]


@pytest.mark.parametrize("prepared", [from_hub, from_web, from_archive, from_claim])
def test_what_is_needed_is_published(run: Fetch, host: Host, tmp_path: Path, files: Files, prepared: Prepared) -> None:
    source, settings = prepared(host, tmp_path, files)
    outcome = run(source, **HEARS, **settings)
    assert outcome.code == 0, outcome.message
    assert [file.path for file in outcome.manifest.files] == PUBLISHED
    model = outcome.message["model"]
    assert (model["architecture"], model["sampleRate"], model["voices"]) == ("whisper", 16000, [])
    assert model["languages"] == ["de", "en"]


def test_nothing_else_is_downloaded(run: Fetch, host: Host, files: Files) -> None:
    hub(host, "someone/ear", files | ELSEWHERE)
    assert run(REPOSITORY, **HEARS, HF_ENDPOINT=host.url).code == 0
    assert not [path for path in ELSEWHERE if host.to(f"/someone/ear/resolve/{COMMIT}/{path}")]


def test_what_was_fetched_hears(run: Fetch, host: Host, files: Files) -> None:
    hub(host, "someone/ear", files)
    outcome = run(REPOSITORY, **HEARS, HF_ENDPOINT=host.url)
    model = outcome.store / "models" / outcome.manifest.key
    settings = load_settings(model_name="ear", model_path=model, task="SpeechToText")
    noise = (0.1 * np.random.default_rng(1).standard_normal(2 * 16000)).astype(np.float32)
    recording = {"file": ("speech.wav", encode(FORMATS["wav"], 16000, noise))}
    with running(lambda: main._engine(settings), model, model_name="ear", task="SpeechToText") as server:  # type: ignore[arg-type,return-value]
        answer = server.client.post(
            "/v1/audio/transcriptions", files=recording, data={"model": "ear", "response_format": "verbose_json"}
        )
        listed = server.client.get("/v1/models").json()
    assert answer.status_code == 200, answer.text
    assert answer.json()["duration"] == 2.0
    assert answer.json()["language"] in ("de", "german", "en", "english")
    assert [each["id"] for each in listed["data"]] == ["ear"]


# --- what the gate lets through, and what it makes of it ---


def test_only_keys_that_are_known_are_kept(tmp_path: Path, files: Files) -> None:
    config = changed(files["config.json"], attn_implementation="someone/kernel", _name_or_path="/home/somebody")
    generation = changed(files["generation_config.json"], compile_config={"backend": "x"}, forced_decoder_ids=[[1, 2]])
    tokens = changed(files["tokenizer_config.json"], tokenizer_file="../../../etc/passwd")
    info = admit(
        tmp_path,
        files | {"config.json": config, "generation_config.json": generation, "tokenizer_config.json": tokens},
    )
    text = "".join((tmp_path / name).read_text() for name in PUBLISHED if "config" in name)
    assert not [key for key in ("kernel", "somebody", "compile", "forced", "passwd") if key in text]
    assert (info.name, info.license, info.languages) == ("ear", "mit", ["de", "en"])


def test_as_openai_published_it_years_ago(tmp_path: Path, files: Files) -> None:
    """The vocabulary in files of its own, half precision, and keys that transformers has given up since."""
    tokens = json.loads(files["tokenizer.json"])
    names = {token["content"]: token["id"] for token in tokens["added_tokens"]}
    special = {
        "bos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "additional_special_tokens": list(names)[:10],
    }
    halves = {name: value.half() for name, value in safetensors.torch.load(files["model.safetensors"]).items()}
    older = without("tokenizer.json")(files) | {
        "vocab.json": json.dumps(tokens["model"]["vocab"]).encode(),
        "merges.txt": b"#version: 0.2\n",
        "added_tokens.json": json.dumps(names).encode(),
        "special_tokens_map.json": json.dumps(special).encode(),
        "tokenizer_config.json": json.dumps(special | {"name_or_path": "openai/x", "errors": "replace"}).encode(),
        "config.json": changed(files["config.json"], torch_dtype="float16", max_length=448, dtype=None),
        "generation_config.json": changed(files["generation_config.json"], forced_decoder_ids=[[1, None], [2, 265]]),
        "model.safetensors": safetensors.torch.save(halves),
    }
    noise = (0.1 * np.random.default_rng(1).standard_normal(2 * 16000)).astype(np.float32)
    heard = []
    for name, bundle in (("now", files), ("older", older)):
        admit(tmp_path / name / "files", bundle)
        engine = WhisperEngine(tmp_path / name)
        engine.load()
        heard.append(list(engine.transcribe(noise, "en")))
    assert heard[0] == heard[1]


def test_features_inside_the_processors_file(tmp_path: Path, files: Files) -> None:
    """As transformers 5 saves a processor."""
    features = json.loads(files["preprocessor_config.json"])
    processor = json.dumps({"feature_extractor": features, "processor_class": "WhisperProcessor"}).encode()
    rest = {path: content for path, content in files.items() if path != "preprocessor_config.json"}
    admit(tmp_path, rest | {"processor_config.json": processor})
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["feature_size"] == 16
    assert not (tmp_path / "processor_config.json").exists()


def test_a_model_of_one_language(tmp_path: Path, files: Files) -> None:
    generation = changed(files["generation_config.json"], lang_to_id=None, is_multilingual=False)
    assert admit(tmp_path, files | {"generation_config.json": generation}).languages == ["en"]


def sharded(files: Files, **weight_map: Any) -> Files:
    index = {"metadata": {}, "weight_map": weight_map or {"a": "model-00001-of-00001.safetensors"}}
    rest = {path: content for path, content in files.items() if path != "model.safetensors"}
    return rest | {
        "model-00001-of-00001.safetensors": files["model.safetensors"],
        "model.safetensors.index.json": json.dumps(index).encode(),
    }


def test_weights_in_several_files(tmp_path: Path, files: Files) -> None:
    admit(tmp_path, sharded(files) | {"model-00001-of-00009.safetensors": b"of another index"})
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["model-00001-of-00001.safetensors"]


def test_one_file_of_weights_is_enough(tmp_path: Path, files: Files) -> None:
    admit(tmp_path, sharded(files) | files)
    assert sorted(path.name for path in tmp_path.glob("*safetensors*")) == ["model.safetensors"]


def header(text: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if size is None else size) + text


def without(*names: str) -> Callable[[Files], Files]:
    return lambda files: {path: content for path, content in files.items() if path not in names}


def with_changed(name: str, **changes: Any) -> Callable[[Files], Files]:
    return lambda files: files | {name: changed(files[name], **changes)}


def with_weights(make: Callable[[bytes], bytes]) -> Callable[[Files], Files]:
    return lambda files: files | {"model.safetensors": make(files["model.safetensors"])}


BAD: dict[str, tuple[Callable[[Files], Files], str, str]] = {
    "pickled weights only": (
        lambda files: without("model.safetensors")(files) | {"pytorch_model.bin": b"PK"},
        "UnsafeModel",
        "pytorch_model.bin",
    ),
    "no weights": (without("model.safetensors"), "InvalidModel", "there is no model.safetensors"),
    "truncated weights": (with_weights(lambda content: content[:-8]), "InvalidModel", "model.safetensors is damaged"),
    "more than the weights": (with_weights(lambda content: content + b"more"), "InvalidModel", "is damaged"),
    "empty weights": (with_weights(lambda _: b""), "InvalidModel", "is damaged"),
    "weights without a tensor": (with_weights(lambda _: header(b"{}")), "InvalidModel", "holds no tensor"),
    "a header as large as the machine": (with_weights(lambda _: header(b"{}", 1 << 60)), "InvalidModel", "is damaged"),
    "a pickle called weights": (with_weights(lambda _: bundles.checkpoint()), "InvalidModel", "is damaged"),
    "code by name": (
        with_changed("config.json", auto_map={"AutoModel": "modeling_ear.Ear"}),
        "UnsafeModel",
        "config.json: auto_map names code",
    ),
    "code by name in the tokenizer": (
        with_changed("tokenizer_config.json", auto_map={"AutoTokenizer": ["a.B", None]}),
        "UnsafeModel",
        "tokenizer_config.json: auto_map",
    ),
    "code by name further down": (
        with_changed("preprocessor_config.json", more=[{"trust_remote_code": True}]),
        "UnsafeModel",
        "more[0].trust_remote_code",
    ),
    "another architecture": (
        with_changed("config.json", architectures=["WhisperForAudioClassification"]),
        "UnsupportedModel",
        "WhisperForAudioClassification",
    ),
    "another model": (with_changed("config.json", model_type="bert"), "UnsupportedModel", "model_type is 'bert'"),
    "a model that speaks": (lambda _: bundles.good(), "InvalidModel", "there is no model.safetensors"),
    "no config": (without("config.json"), "InvalidModel", "there is no config.json"),
    "a config that is no object": (lambda files: files | {"config.json": b"[]"}, "InvalidModel", "config.json holds"),
    "no features": (without("preprocessor_config.json"), "InvalidModel", "preprocessor_config.json is missing"),
    "features of another rate": (
        with_changed("preprocessor_config.json", sampling_rate=8000),
        "InvalidModel",
        "sampling_rate is 8000, expected 16000",
    ),
    "features of another model": (
        with_changed("preprocessor_config.json", feature_size=80),
        "InvalidModel",
        "feature_size is 80, but config.json: num_mel_bins 16",
    ),
    "no tokenizer": (without("tokenizer.json"), "InvalidModel", "tokenizer.json is missing"),
    "languages that are none": (
        with_changed("generation_config.json", lang_to_id=["en"]),
        "InvalidModel",
        "lang_to_id is ['en']",
    ),
    "an index that leads elsewhere": (
        lambda files: sharded(files, a="../../etc/passwd"),
        "InvalidModel",
        "'../../etc/passwd', which is no shard",
    ),
    "an index of nothing": (lambda files: sharded(files, a=5), "InvalidModel", "weight_map names no file"),
}


@pytest.mark.parametrize(("spoil", "reason", "told"), BAD.values(), ids=BAD)
def test_what_the_gate_refuses(
    tmp_path: Path, files: Files, spoil: Callable[[Files], Files], reason: str, told: str
) -> None:
    with pytest.raises(StoreError) as refused:
        admit(tmp_path / "bundle", spoil(files))
    assert refused.value.reason == reason
    assert told in refused.value.message


def test_pickled_weights_are_refused_before_they_are_downloaded(run: Fetch, host: Host, files: Files) -> None:
    hub(host, "someone/ear", without("model.safetensors")(files) | {"pytorch_model.bin": bytes(1 << 16)})
    outcome = run(REPOSITORY, **HEARS, HF_ENDPOINT=host.url)
    assert (outcome.code, outcome.message["reason"]) == (2, "UnsafeModel")
    assert "model.safetensors" in outcome.message["message"]
    assert host.sent < 1 << 16


@pytest.mark.parametrize("source", [{"builtin": {"name": "demo"}}, {"catalog": {"name": "tts_models/en/vctk/vits"}}])
def test_sources_that_have_voices_only(run: Fetch, source: dict[str, Any]) -> None:
    outcome = run(source, **HEARS)
    assert (outcome.code, outcome.message["reason"]) == (2, "UnsupportedModel")


def test_a_whisper_that_is_to_speak(run: Fetch, tmp_path: Path, files: Files) -> None:
    bundles.write(tmp_path / "claim", files)
    outcome = run({"persistentVolumeClaim": {"claimName": "shelf"}}, VOXRAGA_SOURCE_PATH=str(tmp_path / "claim"))
    assert outcome.code == 2
    assert "spec.task" in outcome.message["message"]


def test_archives_are_taken_whole() -> None:
    archive = Remote("", "http://x/ear.zip", unpack=True)
    beside = Remote("NOTICE", "http://x/NOTICE")
    assert whisper.select(Listing("x", (archive, beside))).files == (archive,)
