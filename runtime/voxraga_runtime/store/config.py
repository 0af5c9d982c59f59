"""config.json as data: allow-listed models and classes, every path inside the bundle, training's leftovers dropped.

coqui-tts imports what `characters_class` names, unpickles `stats_path` and opens any path or URL through fsspec. The
published config names only files beside it, relative to its folder; `absolute` is for the server, at load.
"""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import structlog

from .errors import StoreError

MODELS = frozenset(
    {"vits", "xtts", "glow_tts", "tacotron", "tacotron2", "forward_tts", "fast_pitch", "fast_speech", "fastspeech2"}
    | {"speedy_speech", "align_tts", "overflow", "neuralhmm_tts"}
)
VOCODERS = frozenset(
    {"hifigan", "melgan", "multiband_melgan", "fullband_melgan", "parallel_wavegan", "univnet", "wavegrad", "wavernn"}
    | {"gan"}
)
ENCODERS = frozenset({"speaker_encoder", "base_encoder"})
CHARACTERS = frozenset(
    {f"TTS.tts.utils.text.characters.{name}" for name in ("IPAPhonemes", "Graphemes", "BaseCharacters")}
    | {"TTS.tts.models.vits.VitsCharacters"}
)
WORD = re.compile(r"[A-Za-z0-9_]+")
COMMENTS = re.compile(r'("(?:[^"\\]|\\.)*")|/\*.*?\*/|//[^\n]*', re.DOTALL)

DEEPEST = 50  # levels of a config; coqui's own have six

FILES: dict[str, tuple[tuple[str, ...], str]] = {
    "stats_path": (("scale_stats.npy",), "signal_norm"),
    "d_vector_file": (("speakers.json", "speakers.pth"), "use_d_vector_file"),
    "speakers_file": (
        ("speaker_ids.json", "speaker_ids.pth", "speakers.json", "speakers.pth"),
        "use_speaker_embedding",
    ),
    "speaker_file": ((), "use_speaker_embedding"),
    "language_ids_file": (("language_ids.json",), "use_language_embedding"),
    "speaker_encoder_model_path": (("model_se.pth", "model_se.pth.tar"), ""),
    "speaker_encoder_config_path": (("config_se.json",), ""),
    "tokenizer_file": (("vocab.json",), ""),
}
"""Keys that are read when a model speaks: (the file's usual names, the switch that makes it needed, '' for never)."""
LEFTOVER = re.compile(r"(^|_)(path|paths|file|files|dir|uri|url|folder|checkpoint)$|^meta_file")
"""Keys that only training reads; where they point to is nobody's business."""

log = structlog.get_logger(__name__)


def read(path: Path, label: str) -> dict[str, Any]:
    """Parse a config.json, with comments as coqui-tts allows them. Raises StoreError InvalidModel."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError("InvalidModel", f"{label} cannot be read as text: {error}") from error
    try:
        content = _parse(text)
    except (ValueError, RecursionError) as error:
        raise StoreError("InvalidModel", f"{label} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise StoreError("InvalidModel", f"{label} holds a {type(content).__name__}, expected an object")
    _require_shallow(content, label)
    return content


def _require_shallow(content: dict[str, Any], label: str) -> None:
    """So that whoever walks the document needs no more levels of calls than Python has."""
    level: list[Any] = [content]
    for _ in range(DEEPEST):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = list(itertools.chain.from_iterable(inner))
    if level:
        raise StoreError("InvalidModel", f"{label} is nested more than {DEEPEST} levels deep; no model's config is")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return json.loads(COMMENTS.sub(lambda match: match.group(1) or "", text))


def architecture(config: dict[str, Any], label: str, allowed: frozenset[str]) -> str:
    """The model type in lower case. Raises StoreError UnsupportedModel when it is not allow-listed."""
    for key in ("model", "base_model"):
        if config.get(key) is not None:
            _require(_name(config[key]), allowed, f"{label}: {key}")
    for key in ("generator_model", "discriminator_model"):
        _require_word(config.get(key), f"{label}: {key}")
    if config.get("generator_model") is not None:
        _require(_name(config["generator_model"]), allowed, f"{label}: generator_model")
    model = config.get("model", config.get("generator_model"))
    if model is None:
        hears = (
            "; a Whisper model is served with spec.task SpeechToText" if config.get("model_type") == "whisper" else ""
        )
        raise StoreError("InvalidModel", f"{label} has no key 'model': it is not a config of coqui-tts{hears}")
    return _name(model)


def _name(value: object) -> str:
    # as coqui-tts does: a vocoder may be called by its network
    return str(value).lower().replace("_generator", "").replace("_discriminator", "")


def _require(name: str, allowed: frozenset[str], where: str) -> None:
    if name not in allowed:
        raise StoreError("UnsupportedModel", f"{where} is {name!r}; supported are {', '.join(sorted(allowed))}")


def _require_word(value: object, where: str) -> None:
    if value is not None and not (isinstance(value, str) and WORD.fullmatch(value)):
        raise StoreError("UnsafeModel", f"{where} is {value!r}, expected a plain name")


def sanitize(config: dict[str, Any], folder: Path, label: str) -> dict[str, Any]:
    """The config as it may be published: `folder` is where its files are.

    Raises StoreError: UnsafeModel naming the key, InvalidModel for a file that is needed and missing.
    """
    _check_names(config, label)
    switches = {name for name in true_keys(config) if name.startswith(("use_", "signal_"))}
    if not _has_false(config, "signal_norm"):
        switches.add("signal_norm")  # on unless switched off
    if config.get("speakers"):
        switches.discard("use_speaker_embedding")  # the list in the config comes before any file
    clean = dict(_Cleaner(folder, label, switches).clean(config, ""))
    _spread(clean, folder, switches)
    return clean


def _spread(config: dict[str, Any], folder: Path, switches: set[str]) -> None:
    """Name needed files in every section where coqui-tts looks for them, as its own download does.

    It asks model_args first and takes an empty entry there for an answer.
    """
    sections = {"stats_path": ("audio",), "tokenizer_file": (), "speaker_file": ()}
    for key, (names, switch) in FILES.items():
        usual = [name for name in names if switch in switches and (folder / name).is_file()]
        found = files_of(config, key) or usual
        for section in sections.get(key, ("", "model_args")):
            place = config.get(section) if section else config
            if found and isinstance(place, dict) and not place.get(key):
                place[key] = found[0]


def _check_names(config: dict[str, Any], label: str) -> None:
    """Refuse classes and functions by name, wherever in the document they stand."""
    for key, value, where in walk(config):
        # a number counts something by class (num_utter_per_class), as a speaker encoder's config does
        if key.endswith("_class") and isinstance(value, str | list | dict) and str(value) not in CHARACTERS | {""}:
            raise StoreError("UnsafeModel", f"{label}: {where} is {value!r}, which is no character set of coqui-tts")
        if key in ("text_cleaner", "phonemizer") and value:
            _require_word(value, f"{label}: {where}")
    cleaner = config.get("text_cleaner")
    if isinstance(cleaner, str) and cleaner and not cleaner.endswith("_cleaners"):
        raise StoreError("UnsafeModel", f"{label}: text_cleaner is {cleaner!r}, which is no cleaner of coqui-tts")


def walk(value: object, where: str = "") -> Iterator[tuple[str, Any, str]]:
    """(key, value, dotted place) of every key in the document."""
    if isinstance(value, dict):
        for key, item in value.items():
            place = f"{where}.{key}" if where else str(key)
            yield str(key), item, place
            yield from walk(item, place)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, f"{where}[{index}]")


def true_keys(config: dict[str, Any]) -> set[str]:
    """What is switched on, in any section."""
    return {key for key, value, _ in walk(config) if value is True}


def _has_false(config: dict[str, Any], name: str) -> bool:
    return any(key == name and value is False for key, value, _ in walk(config))


class _Cleaner:
    """Copies a config and decides about each key that names a place."""

    def __init__(self, folder: Path, label: str, switches: set[str]) -> None:
        self.folder = folder
        self.label = label
        self.switches = switches

    def clean(self, value: Any, where: str) -> Any:
        if isinstance(value, list):
            return [self.clean(item, f"{where}[{index}]") for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        kept = {}
        for key, item in value.items():
            place = f"{where}.{key}" if where else key
            if key in FILES:
                kept[key] = self._file(key, item, place)
            elif not (LEFTOVER.search(key) and _names_a_place(item)):
                kept[key] = self.clean(item, place)
        return kept

    def _file(self, key: str, value: Any, where: str) -> Any:
        if isinstance(value, list):
            return [name for item in value if (name := self._one(key, item, where)) is not None]
        return self._one(key, value, where)

    def _one(self, key: str, value: Any, where: str) -> str | None:
        if value is not None and not isinstance(value, str):
            raise StoreError("UnsafeModel", f"{self.label}: {where} is {value!r}, expected a file's name")
        names, switch = FILES[key]
        needed = switch in self.switches
        inside = self._inside(value) if value else None
        if inside:
            return inside
        if needed or value:
            for name in names:
                if self._inside(name):
                    return name
        if value and needed:
            self._missing(value, where)
        if not value:
            return None if value is None else ""  # as it was: null is wrong where a field of coqui-tts is a string
        log.warning("dropped a path that leads nowhere", file=self.label, key=where, value=value)
        return None

    def _inside(self, value: str) -> str | None:
        """The value, or the bundle's file of that name, when it is there."""
        path = PurePosixPath(value)
        plain = not path.is_absolute() and ".." not in path.parts and ":" not in value
        for candidate in ([value] if plain else []) + [path.name]:
            if candidate and (self.folder / candidate).is_file():
                return candidate
        return None

    def _missing(self, value: str, where: str) -> None:
        name = PurePosixPath(value).name
        outside = ":" in value or value.startswith("/") or ".." in PurePosixPath(value).parts
        reason = "UnsafeModel" if outside else "InvalidModel"
        what = "leads out of the model's folder" if outside else "is not among the model's files"
        raise StoreError(reason, f"{self.label}: {where} is {value!r}, which {what}; put {name!r} beside {self.label}")


def _names_a_place(value: object) -> bool:
    if isinstance(value, list):
        return any(_names_a_place(item) for item in value)
    return isinstance(value, str)


def files_of(config: dict[str, Any], key: str) -> list[str]:
    """What a sanitized config names under `key`, in any of its sections."""
    found: list[str] = []
    for name, value, _ in walk(config):
        if name == key and value:
            found += value if isinstance(value, list) else [value]
    return list(dict.fromkeys(found))


def absolute(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A published config with its files' names made absolute: coqui-tts looks from the working directory.

    For the server: `folder` is where the config.json stands (`<model path>/files`, or its `vocoder`).
    """

    def joined(value: Any) -> Any:
        return [joined(item) for item in value] if isinstance(value, list) else value and str(folder / value)

    def visit(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: joined(item) if key in FILES else visit(item) for key, item in value.items()}
        return [visit(item) for item in value] if isinstance(value, list) else value

    return dict(visit(config))
