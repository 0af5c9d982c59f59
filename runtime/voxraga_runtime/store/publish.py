"""Publishing: one rename makes a model visible, whole and verified; a kill at any moment leaves nothing or all.

`models/<key>` appears only by a rename of a folder whose files and names are already on the disk, and goes only by a
rename into partial/, so that nobody ever reads half a model.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from . import disk, manifest
from .errors import StoreError

MODELS, PARTIAL, LOCK = "models", "partial", ".lock"
ASIDE = "removed-"
LOCK_EVERY = 1.0  # seconds between two looks at a lock that somebody else holds

log = structlog.get_logger(__name__)


class Store:
    """The folders of one store volume. Errors of the disk come as StoreFull and StoreNotWritable from its users."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self.models = path / MODELS
        self.partial = path / PARTIAL
        self.work = self.partial / key
        self.model = self.models / key

    def prepare(self) -> None:
        """Make the store's folders."""
        for folder in (self.models, self.work):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        """Be the only fetch in this store; the kernel frees the lock of a killed one. `timeout` in seconds.

        Raises StoreError InternalError (retriable) when another one stays.
        """
        with (self.path / LOCK).open("a") as file:
            deadline = time.monotonic() + timeout
            while (free := disk.try_lock(file.fileno())) is False:
                if time.monotonic() >= deadline:
                    raise StoreError(
                        "InternalError", f"another fetch has been working in {self.path} for {timeout:g} s"
                    )
                log.info("waiting for another fetch in the same store")
                time.sleep(min(LOCK_EVERY, timeout))
            if free is None:
                log.warning("the store's file system has no locks; two fetches at once would disturb each other")
            yield

    def published(self) -> manifest.Manifest | None:
        """The manifest of models/<key> when every file of it is as published; a damaged one is moved aside."""
        if not self.model.exists():
            return None
        try:
            return manifest.verify(self.model)
        except StoreError as error:
            log.warning("the published model is damaged and is fetched again", reason=error.reason, error=error.message)
            self.aside(self.model)
            return None

    def publish(self, bundle: Path, content: manifest.Manifest) -> None:
        """Write the manifest into the bundle and make the bundle models/<key> by one rename."""
        disk.write(bundle / manifest.NAME, content.dump())
        disk.sync_tree(bundle)
        bundle.rename(self.model)
        disk.sync(self.models)

    def collect(self, keep: list[str]) -> None:
        """Remove what no model needs any more: other keys, unless in `keep`, and every partial download.

        A failure is only logged: the new model is published, and the next fetch tries again.
        """
        try:
            for path in sorted(self.models.iterdir()):
                if path.name not in {self.key, *keep}:
                    log.info("removing a model that is no longer served", key=path.name)
                    self.aside(path)
            for path in self.partial.iterdir():
                disk.remove(path)
        except OSError as error:
            log.warning("the store could not be cleaned up", error=str(error))

    def aside(self, path: Path) -> None:
        """Remove a model: out of models/ by one rename; the slow removal happens where no reader looks."""
        target = self.partial / f"{ASIDE}{path.name}-{time.time_ns()}"
        path.rename(target)
        shutil.rmtree(target, ignore_errors=True)
