"""Whisper as transformers publishes it: which files of a source are needed, and the gate that they go through.

Weights are safetensors, which hold numbers and nothing else. transformers would import code that `auto_map` names, and
fetch kernels that `attn_implementation` names: what is kept of each file is listed here, and they are not.
"""

import dataclasses
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import structlog
from safetensors import SafetensorError, safe_open

from . import config as configs
from . import disk
from .errors import StoreError
from .gate import check_files, raise_to_top
from .listing import Listing, Local, Remote
from .manifest import ModelInfo

ARCHITECTURE = "WhisperForConditionalGeneration"
RATE = 16000  # Hz, that Whisper was trained on and the server hears
CONFIG, GENERATION, PROCESSOR = "config.json", "generation_config.json", "processor_config.json"
FEATURES, TOKENIZER = "preprocessor_config.json", "tokenizer_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
DATA = frozenset(
    {"tokenizer.json", "vocab.json", "merges.txt", "normalizer.json", "added_tokens.json", "special_tokens_map.json"}
)
"""Files that hold words and tokens only."""
PICKLED = re.compile(r"pytorch_model.*\.(bin|pt)")
CODE = frozenset({"auto_map", "trust_remote_code", "custom_pipelines", "custom_generate"})
"""Keys by which transformers would run code of the bundle, or of elsewhere."""
LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")

_SPECIAL = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"}
_SUPPRESSED = {"suppress_tokens", "begin_suppress_tokens", "max_length", "transformers_version"}
KEPT: dict[str, frozenset[str]] = {
    CONFIG: frozenset(
        {"architectures", "model_type", "dtype", "torch_dtype", "vocab_size", "num_mel_bins", "d_model", "init_std"}
        | {f"{part}_{size}" for part in ("encoder", "decoder") for size in ("layers", "attention_heads", "ffn_dim")}
        | {"encoder_layerdrop", "decoder_layerdrop", "dropout", "attention_dropout", "activation_dropout"}
        | {"activation_function", "max_source_positions", "max_target_positions", "median_filter_width"}
        | {"is_encoder_decoder", "scale_embedding", "tie_word_embeddings", "use_cache"}
        | _SPECIAL
        | _SUPPRESSED
    ),
    GENERATION: frozenset(
        {"alignment_heads", "is_multilingual", "lang_to_id", "task_to_id", "no_timestamps_token_id"}
        | {"max_initial_timestamp_index", "prev_sot_token_id", "return_timestamps"}
        | _SPECIAL
        | _SUPPRESSED
    ),
    FEATURES: frozenset(
        {"chunk_length", "dither", "feature_extractor_type", "feature_size", "hop_length", "n_fft", "n_samples"}
        | {"nb_max_frames", "padding_side", "padding_value", "return_attention_mask", "sampling_rate"}
    ),
    TOKENIZER: frozenset(
        {"add_bos_token", "add_prefix_space", "added_tokens_decoder", "additional_special_tokens", "bos_token"}
        | {"clean_up_tokenization_spaces", "eos_token", "errors", "extra_special_tokens", "model_max_length"}
        | {"pad_token", "return_attention_mask", "tokenizer_class", "unk_token"}
    ),
}
"""What is kept of the files that say how the model is made."""

log = structlog.get_logger(__name__)


def select(listing: Listing) -> Listing:
    """The files that are needed of a source: a repository often holds the weights several times over.

    Those beside the topmost config.json, and archives, whose content only shows once they are unpacked. Raises
    StoreError: UnsafeModel where the weights are pickled only.
    """
    configured = [PurePosixPath(file.path) for file in listing.files if file.path.rpartition("/")[2] == CONFIG]
    top = min(configured, key=lambda path: (len(path.parts), path)).parent if configured else PurePosixPath()
    beside = [file for file in listing.files if not _packed(file) and PurePosixPath(file.path).parent == top]
    archives = [file for file in listing.files if _packed(file)]
    if not archives:
        _require_safe_weights({PurePosixPath(file.path).name for file in beside})
    needed = [file for file in beside if _needed(PurePosixPath(file.path).name)]
    return dataclasses.replace(listing, files=(*needed, *archives))


def _packed(file: Remote | Local) -> bool:
    return isinstance(file, Remote) and file.unpack


def _needed(name: str) -> bool:
    return name in {*KEPT, *DATA, PROCESSOR, WEIGHTS, INDEX} or SHARD.fullmatch(name) is not None


def _require_safe_weights(names: set[str]) -> None:
    if names & {WEIGHTS, INDEX}:
        return
    pickled = sorted(name for name in names if PICKLED.fullmatch(name))
    if pickled:
        raise StoreError(
            "UnsafeModel",
            f"the weights are a pickle, {pickled[0]}, which can run code when it is loaded: choose a revision or a"
            f" source with {WEIGHTS}",
        )
    found = ", ".join(sorted(names)[:20]) or "no files"
    raise StoreError("InvalidModel", f"there is no {WEIGHTS} among {found}; a Whisper model of transformers needs one")


def admit(folder: Path, listing: Listing) -> ModelInfo:
    """Check and normalize a bundle in place and say what it is; what is not needed is removed.

    Raises StoreError: UnsafeModel, UnsupportedModel, InvalidModel (with file and key named).
    """
    check_files(folder)
    raise_to_top(folder)
    _require_safe_weights({path.name for path in folder.iterdir()})
    _remove_the_rest(folder)
    _features_of_their_own(folder)
    contents = {name: _clean(folder / name) for name in sorted(KEPT) if (folder / name).is_file()}
    config, features = contents[CONFIG], contents.get(FEATURES)
    _require_whisper(config)
    _check_features(config, features)
    _check_tokenizer(folder)
    for weights in _weights(folder):
        _check_weights(weights)
    languages = _languages(contents.get(GENERATION, {}))
    return ModelInfo(
        name=listing.name, architecture="whisper", sample_rate=RATE, languages=languages, license=listing.license
    )


def _remove_the_rest(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir() or not _needed(path.name):
            log.info("not needed", path=path.name)
            disk.remove(path)


def _features_of_their_own(folder: Path) -> None:
    """Newer versions of transformers save what the features are as a part of processor_config.json."""
    path = folder / PROCESSOR
    if not path.is_file():
        return
    inside = configs.read(path, PROCESSOR).get("feature_extractor")
    if isinstance(inside, dict) and not (folder / FEATURES).exists():
        disk.write(folder / FEATURES, json.dumps(inside))
    path.unlink()


def _clean(path: Path) -> dict[str, Any]:
    """One of the files that say how the model is made, with nothing in it but what is known."""
    content = configs.read(path, path.name)
    for key, value, where in configs.walk(content):
        if key in CODE and value:
            raise StoreError("UnsafeModel", f"{path.name}: {where} names code to run; choose a model without it")
    kept = {key: value for key, value in content.items() if key in KEPT[path.name]}
    disk.write(path, json.dumps(kept, ensure_ascii=False, indent=1) + "\n")
    return kept


def _require_whisper(config: dict[str, Any]) -> None:
    kind, architectures = config.get("model_type"), config.get("architectures")
    if kind != "whisper" or architectures != [ARCHITECTURE]:
        raise StoreError(
            "UnsupportedModel",
            f"{CONFIG}: model_type is {kind!r} and architectures {architectures!r}; task SpeechToText serves 'whisper'"
            f" and ['{ARCHITECTURE}'] only",
        )


def _check_features(config: dict[str, Any], features: dict[str, Any] | None) -> None:
    if features is None:
        raise StoreError("InvalidModel", f"{FEATURES} is missing; it says how sound becomes the model's input")
    if features.get("sampling_rate", RATE) != RATE:
        found = features["sampling_rate"]
        raise StoreError("InvalidModel", f"{FEATURES}: sampling_rate is {found!r}, expected {RATE}")
    bins, size = config.get("num_mel_bins"), features.get("feature_size")
    if bins != size:
        raise StoreError("InvalidModel", f"{FEATURES}: feature_size is {size!r}, but {CONFIG}: num_mel_bins {bins!r}")


def _check_tokenizer(folder: Path) -> None:
    there = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in there and not {"vocab.json", "merges.txt"} <= there:
        raise StoreError("InvalidModel", "tokenizer.json is missing, and so are vocab.json and merges.txt in its place")


def _weights(folder: Path) -> list[Path]:
    """The files of the weights; an index could name any file of the machine, so it names shards of the bundle only."""
    shards = {path.name: path for path in folder.iterdir() if SHARD.fullmatch(path.name)}
    if (folder / WEIGHTS).is_file():
        for path in (*shards.values(), folder / INDEX):
            path.unlink(missing_ok=True)
        return [folder / WEIGHTS]
    named = configs.read(folder / INDEX, INDEX).get("weight_map")
    names = set(named.values()) if isinstance(named, dict) and all(map(_is_text, named.values())) else set()
    if not names:
        raise StoreError("InvalidModel", f"{INDEX}: weight_map names no file")
    if missing := sorted(names - shards.keys()):
        raise StoreError("InvalidModel", f"{INDEX}: weight_map names {missing[0]!a}, which is no shard of the bundle")
    for name in shards.keys() - names:
        shards[name].unlink()
    return [shards[name] for name in sorted(names)]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_weights(path: Path) -> None:
    """The library reads the header, and that its tensors fill the file to its end; no tensor is loaded."""
    try:
        with safe_open(path, framework="numpy") as file:
            if not file.keys():
                raise StoreError("InvalidModel", f"{path.name} holds no tensor")
    except SafetensorError as error:
        raise StoreError("InvalidModel", f"{path.name} is damaged, or cut off: {error}") from error


def _languages(generation: dict[str, Any]) -> list[str]:
    """Their codes, in the model's order; a model that knows one language only is English, as the published ones are."""
    named = generation.get("lang_to_id") or {}
    if not isinstance(named, dict):
        raise StoreError("InvalidModel", f"{GENERATION}: lang_to_id is {named!r}, expected an object")
    return [found[1] for token in named if (found := LANGUAGE.fullmatch(token))] or ["en"]
