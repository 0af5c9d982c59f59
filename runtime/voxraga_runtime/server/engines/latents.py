"""What a model makes of recordings: computed once for these recordings and this checkpoint, and kept between starts."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from voxraga_runtime.store.references import Reference

Latents = tuple[torch.Tensor, ...]


class KeptLatents:
    """Files in `folder` (one of the temporary ones by default: the store is read-only), named by what they are of."""

    def __init__(self, checkpoint: Path, folder: Path | None = None) -> None:
        self._checkpoint = checkpoint
        self._folder = folder or Path(tempfile.gettempdir()) / "voxraga-voices"

    def of(self, reference: Reference, compute: Callable[[Reference], Latents]) -> Latents:
        """On the CPU, whether they are read or computed."""
        weights = self._checkpoint.stat()
        key = f"{reference.digest} {weights.st_size} {weights.st_mtime_ns} {self._checkpoint}"
        kept = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.pt"
        try:
            return tuple(torch.load(kept, map_location="cpu", weights_only=True))
        except Exception:  # noqa: BLE001 - not there, or not whole: torch raises anything
            latents = tuple(part.cpu() for part in compute(reference))
            _keep(latents, kept)
            return latents


def _keep(latents: Latents, path: Path) -> None:
    """Whole or not at all; a folder that can't be written only costs the time at the next start."""
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        torch.save(latents, part)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
