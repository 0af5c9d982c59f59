"""What a source resolves to: the files of a bundle, where each comes from and what it must be."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .errors import StoreError

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
LONGEST = 255  # characters of a path in the bundle, as in the CRD; and bytes of each of its names, as on any disk


@dataclass(frozen=True)
class Remote:
    """A file to download. `size` in bytes and `sha256` in hex where the source tells them.

    `path` is its place in the bundle; an archive (`unpack`) is unpacked into the folder `path`, '' being the bundle's.
    `headers` go to the URL's own host only.
    """

    path: str
    url: str
    size: int | None = None
    sha256: str | None = None
    unpack: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Local:
    """A file to copy from a mounted or packaged folder."""

    path: str
    origin: Path
    size: int


@dataclass(frozen=True)
class Listing:
    """All files of a source. `revision` is '' where only the content can tell (then the digest stands for it)."""

    name: str
    files: tuple[Remote | Local, ...]
    revision: str = ""
    license: str = ""
    language: str = ""


def bundle_path(path: str, where: str) -> str:
    """A path of the bundle as it may be: relative, forward slashes, no `..`, nothing hidden, no control characters.

    `where` names the field or archive for the message. Raises StoreError UnsafeModel.
    """
    parts = PurePosixPath(path).parts
    plain = path == str(PurePosixPath(path)) and path.isprintable() and "\\" not in path and len(path) <= LONGEST
    plain = plain and all(len(part.encode()) <= LONGEST for part in parts)  # printable: no lone surrogates
    if not parts or not plain or path.startswith("/") or any(part.startswith(".") for part in parts):
        raise StoreError(
            "UnsafeModel", f"{where}: the path {path!a} is not allowed; use a relative path without '..' or dot files"
        )
    return path


def require_distinct(paths: Iterable[str], where: str) -> None:
    """Refuse names that are one name on some disks: twice the same, or but for case or composition; or file and folder.

    Raises StoreError UnsafeModel.
    """
    listed = list(paths)
    taken = {_folded(str(folder)) for path in listed for folder in PurePosixPath(path).parents}
    for path in listed:
        if _folded(path) in taken:
            raise StoreError("UnsafeModel", f"{where}: {path!a} is there twice, or as a folder, too; keep one of them")
        taken.add(_folded(path))


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def is_archive(path: str) -> bool:
    """Whether the name says that the file is an archive that has to be unpacked; .pth.tar files are checkpoints."""
    name = path.lower()
    return name.endswith(ARCHIVES) and not name.endswith(".pth.tar")
