"""Safe extraction of zip and tar archives: no path leads out, no links, no bombs."""

import contextlib
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from . import disk
from .errors import StoreError
from .listing import bundle_path, require_distinct

MAX_MEMBERS = 2000
MAX_BYTES = 32 << 30  # unpacked; the largest model of the catalogue has 2 GiB
MAX_RATIO = 50  # unpacked to packed; weights hardly shrink, JSON by a factor of 5 to 20
SMALL = 64 << 20  # bytes that an archive may always unpack to, whatever the ratio
CHUNK = 1 << 20
RUBBISH = ("__MACOSX", "Thumbs.db")
SYMLINK, KIND = 0o120000, 0o170000  # the upper 16 bits of a zip member's external attributes are its Unix mode


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: object  # the library's own handle


def extract(archive: Path, target: Path, label: str) -> None:
    """Unpack into `target`, without the one folder that many archives have around everything.

    `label` names the archive in messages. Raises StoreError: UnsafeModel, InvalidModel, StoreFull.
    """
    target.mkdir(parents=True, exist_ok=True)
    with _reading(label):
        file = _opened(archive)
    with file:
        with _reading(label):
            found = _zip_members(file, label) if isinstance(file, zipfile.ZipFile) else _tar_members(file, label)
            members = _checked(found, archive.stat().st_size, label)
        _extract(members, target, label, file)


def _opened(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    return zipfile.ZipFile(archive) if zipfile.is_zipfile(archive) else tarfile.TarFile.open(archive)


@contextlib.contextmanager
def _reading(label: str) -> Iterator[None]:
    """Around all that reads the archive: for a damaged one the libraries raise anything. Writing has its own errors."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise StoreError("InvalidModel", f"{label} is a damaged archive, or none: {error}") from error


def _zip_members(file: zipfile.ZipFile, label: str) -> Iterator[_Member]:
    for info in file.infolist():
        if info.is_dir():
            continue
        if (info.external_attr >> 16) & KIND == SYMLINK:
            raise StoreError("UnsafeModel", f"{label}: {info.filename!a} is a link; archives may hold files only")
        if info.flag_bits & 1:
            raise StoreError("InvalidModel", f"{label}: {info.filename!a} is encrypted")
        yield _Member(info.filename, info.file_size, info)


def _tar_members(file: tarfile.TarFile, label: str) -> Iterator[_Member]:
    for info in file:
        if info.isdir():
            continue
        if not info.isreg():
            raise StoreError(
                "UnsafeModel", f"{label}: {info.name!a} is a link or a device; archives may hold files only"
            )
        yield _Member(info.name.removeprefix("./"), info.size, info)


def _extract(members: list[_Member], target: Path, label: str, file: zipfile.ZipFile | tarfile.TarFile) -> None:
    total = sum(member.size for member in members)
    disk.require_space(target, total)
    top = _common_folder([member.name for member in members])
    for member in members:
        place = target / member.name.removeprefix(top)
        place.parent.mkdir(parents=True, exist_ok=True)
        with _reading(label):
            source = _open(file, member)
        with source, place.open("wb") as out:
            _copy(source, out, member, label)


def _checked(found: Iterable[_Member], packed: int, label: str) -> list[_Member]:
    """The members worth unpacking, every one with an allowed name, all together of an allowed size."""
    members: list[_Member] = []
    allowed = min(MAX_BYTES, max(SMALL, packed * MAX_RATIO))
    total = 0
    for count, member in enumerate(found, 1):
        total += member.size
        if count > MAX_MEMBERS or total > allowed:
            limits = f"{MAX_MEMBERS} files and {disk.size(allowed)}"
            raise StoreError("UnsafeModel", f"{label} unpacks to more than {limits}: it looks like an archive bomb")
        if not _rubbish(member.name):
            members.append(_Member(bundle_path(member.name, label), member.size, member.open))
    require_distinct((member.name for member in members), label)
    return members


def _rubbish(name: str) -> bool:
    """Files that packing programs add. A name with `..` is none of them: it has to be refused, not passed over."""
    parts = PurePosixPath(name).parts
    if ".." in parts:
        return False
    return any(part in RUBBISH or part.startswith(".") for part in parts)


def _common_folder(names: list[str]) -> str:
    first = names[0].partition("/")[0] + "/" if names else ""
    return first if first and all(name.startswith(first) for name in names) else ""


def _open(file: zipfile.ZipFile | tarfile.TarFile, member: _Member) -> IO[bytes]:
    if isinstance(file, zipfile.ZipFile):
        return file.open(member.open)  # type: ignore[arg-type]  # the handle is the one this archive gave
    stream = file.extractfile(member.open)  # type: ignore[arg-type]
    if stream is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    return stream


def _copy(source: IO[bytes], out: IO[bytes], member: _Member, label: str) -> None:
    """Copy at most what the archive's index announced: the announcement is what was checked."""
    left = member.size
    while piece := _piece(source, min(CHUNK, left + 1), label):
        left -= len(piece)
        if left < 0:
            raise StoreError("UnsafeModel", f"{label}: {member.name} is larger than the archive says")
        out.write(piece)
    if left:
        raise StoreError("InvalidModel", f"{label}: {member.name} ends {left} bytes early")


def _piece(source: IO[bytes], size: int, label: str) -> bytes:
    with _reading(label):
        return source.read(size)


def copy(origin: Path, target: Path, label: str) -> None:
    """Copy a source's file byte by byte: no link is kept, no permission is taken over.

    Raises StoreError SourceForbidden when the source cannot be read; errors of the target pass as they are.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source = origin.open("rb")
    except OSError as error:
        raise StoreError("SourceForbidden", f"{label} cannot be read in the source: {error.strerror}") from error
    with source, target.open("wb") as out:
        shutil.copyfileobj(source, out, CHUNK)
