"""scale_stats.npy, which coqui-tts unpickles: read here by a closed list of names, and written anew."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from . import disk
from .errors import StoreError

MAX_BYTES = 16 << 20  # a mean and a deviation for each band: a few KiB in truth
NUMBERS = ("mel_mean", "mel_std", "linear_mean", "linear_std")
CALLABLES = {
    (module, name)
    for core in ("numpy.core", "numpy._core")
    for module, name in ((f"{core}.multiarray", "_reconstruct"), (f"{core}.multiarray", "scalar"))
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _Reader(pickle.Unpickler):
    """Knows the names that numpy's own arrays are made of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in CALLABLES:
            raise pickle.UnpicklingError(f"it would import {f'{module}.{name}'!a}")
        return super().find_class(module, name)


def convert(path: Path, label: str) -> None:
    """Replace a statistics file by one with the same numbers, written by us. `label` names it in messages.

    Raises StoreError: UnsafeModel when it holds more than numbers, InvalidModel when it is damaged.
    """
    if path.stat().st_size > MAX_BYTES:
        raise StoreError(
            "InvalidModel", f"{label} has {disk.size(path.stat().st_size)}: no statistics file is so large"
        )
    stats = _read(path, label)
    if not isinstance(stats, dict):
        raise StoreError("InvalidModel", f"{label} holds {type(stats).__name__}, expected a dict of statistics")
    try:
        clean = {name: _numbers(stats[name], f"{label}: {name}") for name in NUMBERS if name in stats}
        clean["audio_config"] = _plain(stats.get("audio_config", {}), f"{label}: audio_config")
    except (ValueError, RecursionError) as error:  # lists of unequal length; a list that holds itself
        raise StoreError("InvalidModel", f"{label} holds no statistics: {error}") from error
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        np.save(file, np.array(clean, dtype=object), allow_pickle=True)
    temporary.replace(path)


def check(path: Path, label: str) -> None:
    """Let a plain array pass, `convert` statistics, refuse the rest. Raises StoreError UnsafeModel, InvalidModel."""
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # noqa: BLE001 - numpy parses headers as Python, and raises anything
        convert(path, label)  # holds Python objects, or is damaged: says which


def _read(path: Path, label: str) -> Any:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            _, _, dtype = reader(file)
            content = _Reader(file).load() if dtype.hasobject else None
    except pickle.UnpicklingError as error:
        raise StoreError("UnsafeModel", f"{label}: {error}; audio.stats_path may hold numbers only") from error
    except Exception as error:
        raise StoreError("InvalidModel", f"{label} is damaged: {error}") from error
    if not dtype.hasobject:
        raise StoreError("InvalidModel", f"{label} is damaged: it is shorter than its header says")
    return content.item() if isinstance(content, np.ndarray) and content.shape == () else content


def _numbers(value: Any, label: str) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise StoreError("UnsafeModel", f"{label} has the type {array.dtype}, expected numbers")
    return np.array(array, copy=True)


def _plain(value: Any, label: str) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item, label) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, label) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "fiub":
        return value.item()
    raise StoreError("UnsafeModel", f"{label} holds {type(value).__name__}, expected plain settings")
