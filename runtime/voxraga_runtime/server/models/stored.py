"""A stored model, known without loading it: what its manifest, and the config beside it, say."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.store import manifest
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.manifest import ModelInfo

Origin = Literal["builtin", "fetched", "uploaded", "folder"]
CATALOGUE_PARTS = 4  # tts_models/en/vctk/vits: kind, language, dataset, model


@dataclass(frozen=True, slots=True)
class Stored:
    """One model in a store. `bytes` are its files'; `created` is the manifest's time, in ns since 1970."""

    name: str
    path: Path
    origin: Origin
    info: ModelInfo
    bytes: int = 0
    created: int = 0
    dataset: str = ""
    revision: str = ""
    digest: str = ""

    @property
    def identity(self) -> tuple[Path, int]:
        """Changes when the model is replaced, whatever its name."""
        return self.path, self.created


def read(name: str, path: Path) -> Stored:
    """What is stored at `path`. A plain folder, as when a model is tried out by hand, has no manifest.

    Raises StartupError: ModelMissing where nothing is there, ModelInvalid for a manifest that can't be read.
    """
    if not path.is_dir():
        raise StartupError("ModelMissing", f"VOXRAGA_MODEL_PATH is {path}: no such folder; has the fetch Job run?")
    if not (path / manifest.NAME).is_file():
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return Stored(name, path, "folder", ModelInfo(), size, dataset=_dataset("", path))
    try:
        content = manifest.load(path)
    except StoreError as error:
        raise StartupError("ModelInvalid", error.message) from None
    return Stored(
        name,
        path,
        origin=_origin(content.source),
        info=content.model,
        bytes=content.bytes,
        created=created(path),
        dataset=_dataset(content.model.name, path / manifest.FILES),
        revision=content.revision,
        digest=content.digest,
    )


def created(path: Path) -> int:
    """When the model was published, in ns since 1970."""
    return (path / manifest.NAME).stat().st_mtime_ns


def _origin(source: dict[str, object]) -> Origin:
    if "upload" in source:
        return "uploaded"
    return "builtin" if "builtin" in source else "fetched"


def _dataset(name: str, files: Path) -> str:
    """What the model learned from: by the catalogue's name, else by its config; "" where neither says."""
    parts = name.split("/")
    if len(parts) == CATALOGUE_PARTS:
        return parts[2]
    try:
        datasets = json.loads((files / "config.json").read_text(encoding="utf-8")).get("datasets")
    except (OSError, ValueError, AttributeError):
        return ""
    first: Any = datasets[0] if isinstance(datasets, list) and datasets else {}
    named = (first.get("dataset_name") or first.get("name")) if isinstance(first, dict) else ""
    return named if isinstance(named, str) else ""
