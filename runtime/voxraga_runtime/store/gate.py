"""The one gate for models: whatever the source, a bundle is published only after everything here agreed to it.

After `admit` the bundle's folder holds: model.pth and config.json (by these names), the files that config.json names
(relative to it), a vocoder in vocoder/ (model.pth, config.json) where there is one, and whatever else came along.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from . import config as configs
from . import disk, pickles, references, stats
from .errors import StoreError
from .licenses import require
from .listing import Listing, bundle_path, require_distinct
from .manifest import ModelInfo, relative_files
from .voices import VOICES, XTTS_SPEAKERS, clones, describe

CONFIG, CHECKPOINT, VOCODER = "config.json", "model.pth", "vocoder"
PREFERRED = (CHECKPOINT, "model_file.pth", "model_file.pth.tar", "checkpoint.pth", "best_model.pth")
CHECKPOINTS = (".pth", ".pth.tar", ".pt")
BESIDE = ("speaker", "language", "model_se", "mel_stats", "dvae", "mel_norm", "voices")
"""Beginnings of the names of .pth files that are no model of their own."""
MAX_CONFIG = 64 << 20  # bytes; a config may list thousands of speakers


def admit(folder: Path, listing: Listing, accepted: list[str]) -> ModelInfo:
    """Check and normalize a bundle in place and say what it is. `accepted` are the licences that the user accepted.

    Raises StoreError: UnsafeModel, UnsupportedModel, InvalidModel (with file and key named), LicenseNotAccepted.
    """
    check_files(folder)
    raise_to_top(folder)
    architecture, config = _part(folder, "", configs.MODELS)
    require(architecture, listing, accepted)
    _check_companions(folder, config)
    if clones(config, architecture):
        _check_voices(folder, architecture)
    vocoder = _vocoder(folder)
    _check_pickles(folder)
    return describe(folder, config, vocoder, listing, architecture)


def check_files(folder: Path) -> None:
    """Refuse what is no plain file, or has a name that leads elsewhere. Raises StoreError UnsafeModel."""
    paths = sorted(relative_files(folder))
    require_distinct(paths, "the model")
    for path in paths:
        bundle_path(path, "the model")
        if (folder / path).is_symlink() or not (folder / path).is_file():
            raise StoreError("UnsafeModel", f"{path} is not a plain file; links and devices are not allowed")


def raise_to_top(folder: Path) -> None:
    """Move the folder with the topmost config.json to the top, so that the server finds it."""
    found = [path for path in folder.rglob(CONFIG) if VOCODER not in path.relative_to(folder).parts]
    if not found:
        raise StoreError("InvalidModel", f"there is no {CONFIG} among {_names(folder)}; a model needs one")
    top = min(found, key=lambda path: (len(path.parts), path)).parent
    for path in sorted(top.iterdir()) if top != folder else []:
        if (folder / path.name).exists():
            raise StoreError("InvalidModel", f"both {path.name} and {path.relative_to(folder)} exist; keep one of them")
        path.rename(folder / path.name)


def _names(folder: Path) -> str:
    return ", ".join(sorted(relative_files(folder))[:20]) or "no files"


def _part(folder: Path, prefix: str, allowed: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """Check one model or vocoder: its config is rewritten, its checkpoint gets its name."""
    label = prefix + CONFIG
    if (folder / CONFIG).stat().st_size > MAX_CONFIG:
        raise StoreError("InvalidModel", f"{label} has more than {disk.size(MAX_CONFIG)}")
    config = configs.read(folder / CONFIG, label)
    architecture = configs.architecture(config, label, allowed)
    _name_checkpoint(folder, prefix)
    clean = _checked_config(folder, config, label)
    return architecture, clean


def _checked_config(folder: Path, config: dict[str, Any], label: str) -> dict[str, Any]:
    clean = configs.sanitize(config, folder, label)
    for name in configs.files_of(clean, "stats_path"):
        if not name.endswith(".npy"):
            raise StoreError("UnsafeModel", f"{label}: audio.stats_path is {name!r}, expected an .npy file")
    disk.write(folder / label.rpartition("/")[2], json.dumps(clean, ensure_ascii=False, indent=1) + "\n")
    return clean


def _name_checkpoint(folder: Path, prefix: str) -> None:
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(CHECKPOINTS))
    models = [name for name in names if not name.startswith(BESIDE)]
    best = next((name for name in PREFERRED if name in models), models[0] if len(models) == 1 else None)
    if best is None:
        found = ", ".join(models) or _names(folder)
        raise StoreError("InvalidModel", f"{prefix}{CHECKPOINT} is missing and cannot be told from: {found}")
    (folder / best).rename(folder / CHECKPOINT)


def _check_companions(folder: Path, config: dict[str, Any]) -> None:
    """The speaker encoder has a config of its own, with the same dangers."""
    for name in configs.files_of(config, "speaker_encoder_config_path"):
        encoder = configs.read(folder / name, name)
        if encoder.get("model") is not None:
            configs.architecture(encoder, name, configs.ENCODERS)
        _checked_config(folder, encoder, name)
    for key in ("speakers_file", "speaker_file", "d_vector_file", "language_ids_file", "tokenizer_file"):
        for name in configs.files_of(config, key):
            if not name.endswith((".json", *CHECKPOINTS)):
                raise StoreError("UnsafeModel", f"{CONFIG}: {key} is {name!r}, expected a .json or .pth file")


def _check_voices(folder: Path, architecture: str) -> None:
    """A model that clones speaks as its recordings too: one that can't be heard is refused, not left out in silence."""
    try:
        found = references.check(folder / VOICES)
    except references.UnusableVoiceError as error:
        raise StoreError("InvalidModel", f"{VOICES}/: {error}; replace the recordings, or remove the folder") from None
    if architecture == "xtts" and not found and not (folder / XTTS_SPEAKERS).is_file():
        raise StoreError("InvalidModel", f"there is neither {XTTS_SPEAKERS} nor a folder {VOICES}/NAME with recordings")


def _vocoder(folder: Path) -> dict[str, Any] | None:
    part = folder / VOCODER
    if not part.is_dir():
        return None
    if not (part / CONFIG).is_file():
        raise StoreError("InvalidModel", f"{VOCODER}/{CONFIG} is missing; the folder {VOCODER}/ is for the vocoder")
    return _part(part, f"{VOCODER}/", configs.VOCODERS)[1]


def _check_pickles(folder: Path) -> None:
    """Every checkpoint and array of the bundle, named by the config or not: a later reader may open it."""
    for name in sorted(relative_files(folder)):
        if name.endswith(CHECKPOINTS):
            pickles.check(folder / name, name)
        elif name.endswith(".npy"):
            stats.check(folder / name, name)
        elif name.endswith((".pkl", ".pickle", ".npz")):
            raise StoreError("UnsafeModel", f"{name} is a pickle; a model for serving has no need of it: remove it")


def clear(folder: Path) -> None:
    """Make an empty folder of it: a bundle is put together anew on each try."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
