"""Sources on this machine: `persistentVolumeClaim` (a mounted claim) and `builtin` (a voice inside the image)."""

import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.listing import Listing, Local, bundle_path
from voxraga_runtime.store.settings import Builtin, Claim, Settings

MAX_FILES = 2000


def resolve_claim(source: Claim, settings: Settings) -> Listing:
    """Every file below `path` of the claim. Raises StoreError: SourceNotFound, SourceForbidden, UnsafeModel."""
    where = "spec.source.persistentVolumeClaim.path"
    root = settings.source_path
    path = (source.path or "").strip("/")
    folder = root / path
    # `..`, or a link on the way to the folder, could lead out of the claim
    if not folder.resolve().is_relative_to(root.resolve()):
        raise StoreError("UnsafeModel", f"{where}: {path!r} leads out of the claim {source.claim_name}")
    if not folder.is_dir():
        raise StoreError("SourceNotFound", f"{where}: claim {source.claim_name} has no folder {path!r}")
    files = tuple(_files(folder, root))
    if not files:
        raise StoreError("SourceNotFound", f"{where}: {path!r} of claim {source.claim_name} holds no file")
    return Listing(name=folder.name if folder != root else source.claim_name, files=files)


def resolve_builtin(source: Builtin) -> Listing:
    """The files of a voice in the image. Raises StoreError SourceNotFound with the voices that there are."""
    root = voices()
    folder = root / source.name
    if not folder.is_dir():
        names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        known = ", ".join(names) or "none"
        raise StoreError("SourceNotFound", f"spec.source.builtin.name: no voice {source.name!r}; there are: {known}")
    return Listing(name=source.name, files=tuple(_files(folder, folder)))


def voices() -> Path:
    """The folder of the voices in the image."""
    return Path(str(resources.files("voxraga_runtime"))) / "voices"


def _files(folder: Path, root: Path) -> Iterator[Local]:
    count = 0
    for base, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in sorted(folders) if not _passed_over(name)]
        for name in sorted(names + [name for name in folders if (Path(base) / name).is_symlink()]):
            if _passed_over(name):
                continue
            count += 1
            if count > MAX_FILES:
                raise StoreError("InvalidModel", f"{folder} holds more than {MAX_FILES} files; name the model's folder")
            yield _local(folder, Path(base) / name, root)


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name in ("lost+found", "__pycache__")


def _local(folder: Path, path: Path, root: Path) -> Local:
    """A file of the source. A link to a file inside `root` counts as that file (a copied hub cache is made of them)."""
    shown = path.relative_to(folder).as_posix()
    origin = path.resolve()
    if not origin.is_relative_to(root.resolve()):
        raise StoreError("UnsafeModel", f"{shown} is a link that leads out of the source; put the file itself there")
    if not origin.is_file():
        raise StoreError("UnsafeModel", f"{shown} is neither a file nor a link to one")
    return Local(bundle_path(shown, "the source"), origin, origin.stat().st_size)


def _unreadable(error: OSError) -> None:
    raise StoreError("SourceForbidden", f"{error.filename} cannot be read: {error.strerror}") from error
