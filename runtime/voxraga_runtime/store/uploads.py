"""The folder of uploaded models, which several servers may share: what is in it is derived from it at every look.

models/<name>@<n>/      a model as in any store (docs/contract.md); of several of one name the highest n counts
partial/<id>/           an upload under way; its lock tells that whoever makes it lives
"""

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from . import disk, manifest
from .publish import MODELS, PARTIAL, Store

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
SEPARATOR = "@"
LOCK = "lock"
STALE = 3600  # seconds after which an upload is over for certain, where the file system can't tell

log = structlog.get_logger(__name__)


class NameTakenError(Exception):
    """There is a model of that name already."""


class Uploads:
    """The folder at `path`. Errors of the disk come as StoreFull and StoreNotWritable (`disk.store_errors`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._models = path / MODELS
        self._partial = path / PARTIAL

    def prepare(self) -> None:
        """Make the folders, and remove what a killed upload left. Raises StoreError StoreNotWritable."""
        with disk.store_errors(self.path):
            for folder in (self._models, self._partial):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._partial, os.W_OK | os.X_OK) or not os.access(self._models, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        for folder in self._partial.iterdir():
            if _abandoned(folder):
                log.info("removing what an upload left that was broken off", folder=folder.name)
                disk.remove(folder)

    def models(self) -> dict[str, Path]:
        """Every model's folder, by name."""
        return {name: versions[max(versions)] for name, versions in sorted(self._versions().items())}

    def find(self, name: str) -> Path | None:
        """The folder of one model."""
        versions = self._versions().get(name)
        return versions[max(versions)] if versions else None

    def _versions(self) -> dict[str, dict[int, Path]]:
        found: dict[str, dict[int, Path]] = {}
        with os.scandir(self._models) as entries:
            for entry in entries:
                name, _, version = entry.name.rpartition(SEPARATOR)
                if NAME.fullmatch(name) and version.isdecimal():
                    found.setdefault(name, {})[int(version)] = Path(entry.path)
        return found

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder for one upload; afterwards, or once this process is dead, it is gone."""
        hidden = self._partial / f".{uuid.uuid4().hex}"  # until it is locked, it must not look abandoned
        hidden.mkdir()
        with (hidden / LOCK).open("w") as lock:
            disk.try_lock(lock.fileno())
            folder = hidden.rename(self._partial / hidden.name[1:])
            try:
                yield folder
            finally:
                disk.remove(folder)

    def publish(self, name: str, bundle: Path, content: manifest.Manifest, *, replace: bool) -> Path:
        """Make the bundle the model of that name by one rename. Raises NameTakenError, if another was faster too."""
        versions = self._versions().get(name, {})
        if versions and not replace:
            raise NameTakenError
        store = Store(self.path, f"{name}{SEPARATOR}{max(versions, default=0) + 1}")
        try:
            store.publish(bundle, content)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise NameTakenError from None
            raise
        for _, older in sorted(versions.items()):
            _aside(store, older)
        return store.model

    def remove(self, name: str) -> bool:
        """Remove a model, the oldest of several first: one that was replaced never comes back. False: there is none."""
        versions = self._versions().get(name, {})
        for _, folder in sorted(versions.items()):
            _aside(Store(self.path, folder.name), folder)
        return bool(versions)


def _aside(store: Store, folder: Path) -> None:
    try:
        store.aside(folder)
    except FileNotFoundError:
        return  # another server was faster


def _abandoned(folder: Path) -> bool:
    """Whether nobody makes this upload any more, or it is the rest of a removal."""
    try:
        if not folder.name.startswith("."):
            with (folder / LOCK).open("r+") as lock:
                if (free := disk.try_lock(lock.fileno())) is not None:
                    return free
        return time.time() - folder.stat().st_mtime > STALE
    except (FileNotFoundError, NotADirectoryError):
        return True


def name_fault(name: str) -> str:
    """What is wrong with a model's name, or ''."""
    if NAME.fullmatch(name):
        return ""
    return f"{name[:80]!r} is no name for a model: use at most 63 letters, digits, dots, dashes and underscores"
