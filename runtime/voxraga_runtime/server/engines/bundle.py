"""A coqui model's files in the store: finds them, and reads config.json so that it can neither run code nor leave.

A coqui config can name a class to import, a numpy pickle to load and files or URLs to open. The fetch Job refuses such
bundles; here everything is forced inside the bundle once more, because a volume can be written by others.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from voxraga_runtime.common.errors import StartupError

ARCHITECTURES = frozenset(
    {"vits", "glow_tts", "speedy_speech", "fast_pitch", "fast_speech", "fastspeech2", "forward_tts", "align_tts"}
    | {"tacotron", "tacotron2"}
)
VOCODERS = frozenset(
    {"hifigan", "melgan", "multiband_melgan", "fullband_melgan", "parallel_wavegan", "univnet", "wavernn", "wavegrad"}
    | {"gan"}
)
CHARACTER_CLASSES = frozenset(
    f"TTS.tts.{where}"
    for where in (
        "utils.text.characters.IPAPhonemes",
        "utils.text.characters.Graphemes",
        "utils.text.characters.BaseVocabulary",
        "utils.text.characters.BaseCharacters",
        "models.vits.VitsCharacters",
    )
)
FILE_KEYS = frozenset(
    {"speakers_file", "speaker_file", "d_vector_file", "language_ids_file", "speaker_encoder_model_path"}
    | {"speaker_encoder_config_path", "stats_path"}
)
# what a numpy pickle of plain arrays and numbers is made of
STATS_NAMES = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})


class Bundle:
    """The folder `files/` of one stored model (or a plain folder with a model in it), or its `vocoder/`."""

    def __init__(self, path: Path) -> None:
        self.root = path / "files" if (path / "files").is_dir() else path
        self.stats: dict[str, Any] | None = None
        if not (self.root / "config.json").is_file():
            raise StartupError("ModelMissing", f"{self.root / 'config.json'} does not exist: is the model stored?")

    @property
    def vocoder(self) -> "Bundle | None":
        folder = self.root / "vocoder"
        return Bundle(folder) if folder.is_dir() else None

    def checkpoint(self) -> Path:
        """The weights: model.pth, or another name that coqui publishes them under."""
        for pattern in ("model.pth", "model_file.pth*", "best_model*.pth", "checkpoint_*.pth", "model*.pth"):
            if found := sorted(p for p in self.root.glob(pattern) if p.is_file() and not p.name.startswith("model_se")):
                return found[0]
        raise StartupError("ModelMissing", f"{self.root} has no model.pth")

    def architecture(self, key: str = "model") -> str:
        """The model's family as config.json has it under `key`; "" where it can't be read."""
        try:
            values = json.loads((self.root / "config.json").read_text(encoding="utf-8"))
        except ValueError:
            return ""
        return str(values.get(key, "")).lower() if isinstance(values, dict) else ""

    def config(self, architectures: frozenset[str] = ARCHITECTURES) -> dict[str, Any]:
        """config.json, its files resolved inside the bundle; raises StartupError for what is not allowed."""
        path = self.root / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StartupError("ModelInvalid", f"{path} is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise StartupError("ModelInvalid", f"{path} holds {type(values).__name__}, not an object")
        self._check_class(str(values.get("model", values.get("generator_model", ""))), values, architectures)
        self._resolve(values)
        self._take_stats(values)
        return values

    def _check_class(self, model: str, values: dict[str, Any], architectures: frozenset[str]) -> None:
        name = model.lower().replace("_generator", "")
        if name not in architectures:
            raise StartupError(
                "ModelInvalid", f"config.json: model is {model!r}; served are {', '.join(sorted(architectures))}"
            )
        base = values.get("base_model")
        if base is not None and str(base).lower() not in architectures:
            raise StartupError("ModelInvalid", f"config.json: base_model {base!r} is not allowed")
        named = (values.get("characters") or {}).get("characters_class")
        if named and named not in CHARACTER_CLASSES:
            raise StartupError("ModelInvalid", f"config.json: characters_class {named!r} is not one of coqui's own")

    def _resolve(self, node: Any) -> None:
        """Point every file key at the file of that name in the bundle; training left paths of another machine there."""
        if isinstance(node, list):
            for item in node:
                self._resolve(item)
        if not isinstance(node, dict):
            return
        for key, value in node.items():
            if key in FILE_KEYS and value:
                inside = [found for n in (value if isinstance(value, list) else [value]) if (found := self._inside(n))]
                node[key] = (inside if isinstance(value, list) else inside[0]) if inside else None
            else:
                self._resolve(value)

    def _inside(self, name: object) -> str | None:
        """The file of the bundle that a config means: by its path below the bundle, else by its bare name."""
        for path in (self.root / str(name), self.root / Path(str(name)).name):
            if path.is_file() and path.resolve().is_relative_to(self.root.resolve()):
                return str(path)
        return None

    def _take_stats(self, values: dict[str, Any]) -> None:
        """Read the mean and variance ourselves: coqui would unpickle whatever the file holds."""
        audio = values.get("audio") or {}
        if path := audio.get("stats_path"):
            self.stats = read_stats(Path(path))
            audio["stats_path"] = None


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".", maxsplit=1)[0] != "numpy" or name not in STATS_NAMES:
            raise StartupError("ModelInvalid", f"the statistics file asks for {module}.{name}: refused")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_stats(path: Path) -> dict[str, Any]:
    """coqui's scale_stats.npy: {"mel_mean", "mel_std", "linear_mean", "linear_std", …}, pickled in a npy file."""
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            _shape, _order, kind = read(file)
            if not kind.hasobject:
                raise StartupError("ModelInvalid", f"{path.name} holds a plain array, not coqui's statistics")
            loaded = _ArraysOnly(file).load()
        except (ValueError, pickle.UnpicklingError, EOFError, AttributeError) as error:
            raise StartupError("ModelInvalid", f"{path.name} is not a statistics file: {error}") from None
    stats = loaded.item() if isinstance(loaded, np.ndarray) else loaded
    if not isinstance(stats, dict) or "mel_mean" not in stats:
        raise StartupError("ModelInvalid", f"{path.name} has no mel_mean")
    return stats
