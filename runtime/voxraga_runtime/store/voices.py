"""What a bundle can speak: sample rate, languages and voices, read as data from its config and its speakers' files."""

import json
from pathlib import Path
from typing import Any

from . import config as configs
from . import pickles, references
from .errors import StoreError
from .listing import Listing
from .manifest import ModelInfo

DEFAULT_VOICE = "default"
"""The one voice of a model that does not name any."""
LOWEST_RATE, HIGHEST_RATE = 4_000, 384_000  # Hz
XTTS_SPEAKERS = "speakers_xtts.pth"
VOICES = "voices"
"""Folder of a model that clones: a folder with recordings for each further voice."""


def describe(
    folder: Path, config: dict[str, Any], vocoder: dict[str, Any] | None, listing: Listing, architecture: str
) -> ModelInfo:
    """The manifest's `model`. A voice.json in the bundle has the last word on name, languages, voices and licence.

    Raises StoreError InvalidModel when the sample rate is missing or a speakers' file is damaged.
    """
    card = _card(folder)
    return ModelInfo(
        name=str(card.get("name") or listing.name),
        architecture=architecture,
        sample_rate=_sample_rate(vocoder or config, "vocoder/config.json" if vocoder else "config.json"),
        languages=_strings(card.get("languages")) or languages(folder, config) or [listing.language or "en"],
        voices=_voice_ids(card.get("voices")) or voices(folder, config, architecture) or [DEFAULT_VOICE],
        license=str(card.get("license") or listing.license or _license(architecture)),
    )


def _license(architecture: str) -> str:
    return "CPML" if architecture == "xtts" else ""


def _card(folder: Path) -> dict[str, Any]:
    path = folder / "voice.json"
    return configs.read(path, path.name) if path.is_file() else {}


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _voice_ids(value: object) -> list[str]:
    items = value if isinstance(value, list) else []
    return _strings([item.get("id") if isinstance(item, dict) else item for item in items])


def _sample_rate(config: dict[str, Any], label: str) -> int:
    audio = config.get("audio")
    audio = audio if isinstance(audio, dict) else {}
    rate = audio.get("output_sample_rate") or audio.get("sample_rate")
    # NaN is in no range
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        found, allowed = repr(rate)[:80], f"a number of hertz from {LOWEST_RATE} to {HIGHEST_RATE}"
        raise StoreError("InvalidModel", f"{label}: audio.sample_rate is {found}, expected {allowed}")
    return int(rate)


def languages(folder: Path, config: dict[str, Any]) -> list[str]:
    """The languages as the model calls them; a model of one language by its code without the region."""
    for name in configs.files_of(config, "language_ids_file"):
        if found := sorted(_names(folder / name)):
            return found
    if found := _strings(config.get("languages")):
        return found
    datasets = config.get("datasets")
    named = [item.get("language") for item in datasets if isinstance(item, dict)] if isinstance(datasets, list) else []
    found = sorted({item for item in _strings(named) if item})
    if not found and isinstance(config.get("phoneme_language"), str):
        found = [config["phoneme_language"]] if config["phoneme_language"] else []
    return [found[0].split("-")[0]] if len(found) == 1 else found


def clones(config: dict[str, Any], architecture: str) -> bool:
    """Whether a model speaks as recordings too: XTTS, and what speaks by d-vectors with the encoder that makes them."""
    by_vectors = "use_d_vector_file" in configs.true_keys(config)
    return architecture == "xtts" or (by_vectors and bool(configs.files_of(config, "speaker_encoder_model_path")))


def voices(folder: Path, config: dict[str, Any], architecture: str) -> list[str]:
    """The speakers in the model's own order, and then those of recordings."""
    recorded = references.folders(folder / VOICES) if clones(config, architecture) else []
    return list(dict.fromkeys([*_own(folder, config, architecture), *(path.name for path in recorded)]))


def _own(folder: Path, config: dict[str, Any], architecture: str) -> list[str]:
    """From where coqui-tts would take them."""
    if architecture == "xtts":
        return list(_names(folder / XTTS_SPEAKERS)) if (folder / XTTS_SPEAKERS).is_file() else []
    switches = configs.true_keys(config)
    if "use_speaker_embedding" in switches:
        listed = config.get("speakers")
        if isinstance(listed, list) and listed:
            return _strings(listed)
        keys: tuple[str, ...] = ("speaker_file", "speakers_file")
    else:
        keys = ("d_vector_file",) if "use_d_vector_file" in switches else ()
    found: dict[str, None] = {}
    for key in keys:
        for name in configs.files_of(config, key):
            found |= _names(folder / name)
    return list(found)


def _names(path: Path) -> dict[str, None]:
    """The names in a speakers' or languages' file: {name: id}, or {clip: {"name": speaker, "embedding": …}}."""
    content = _content(path)
    if not isinstance(content, dict):
        raise StoreError("InvalidModel", f"{path.name} holds a {type(content).__name__}, expected an object with names")
    clips = all(isinstance(value, dict) and "name" in value for value in content.values())
    names = [value["name"] for value in content.values()] if clips else list(content)
    return dict.fromkeys(str(name) for name in names)


def _content(path: Path) -> object:
    if not path.name.endswith(".json"):
        return pickles.read(path, path.name)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError("InvalidModel", f"{path.name} is not JSON: {error}") from error
