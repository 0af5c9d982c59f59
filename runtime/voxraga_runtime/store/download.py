"""The one downloader: streams into the store's partial folder, resumes what was begun, verifies what was promised."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog

from . import disk
from .errors import StoreError
from .http import NOT_MODIFIED, PARTIAL, RANGE_NOT_SATISFIABLE, Http, TransientError, check, failures, shown
from .listing import Remote
from .manifest import sha256_of

PROGRESS_EVERY = 5.0  # seconds

log = structlog.get_logger(__name__)


@dataclass
class Progress:
    """Bytes so far over all files; says so in the log every few seconds. `total` is 0 when a size is unknown."""

    total: int = 0
    done: int = 0
    last: float = 0.0

    def add(self, count: int, path: str) -> None:
        """Count `count` bytes of the file `path`."""
        self.done += count
        now = time.monotonic()
        if now - self.last < PROGRESS_EVERY:
            return
        self.last = now
        percent = round(100 * self.done / self.total) if self.total else None
        log.info("downloading", file=path, bytes=self.done, total=self.total or None, percent=percent)


class Downloader:
    """Downloads files one after the other into `folder` (partial/<key>/downloads): part/, meta/ and done/ by id."""

    def __init__(self, http: Http, folder: Path, progress: Progress) -> None:
        self.http = http
        self.folder = folder
        self.progress = progress
        for name in ("part", "meta", "done"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def fetch(self, remote: Remote) -> Path:
        """Return the complete, verified local copy, downloading what is missing of it.

        Raises StoreError: a Source… reason, or ChecksumMismatch (the copy is removed, so a retry downloads again).
        """
        item = _Item(remote, self.folder)
        if item.done.exists() and self._still_good(item):
            self.progress.add(item.done.stat().st_size, remote.path)
            return item.done
        resumed = item.resumable()
        self._download(item)
        try:
            item.finish()
        except StoreError:
            if not resumed:
                raise
            # a resumed file was joined from two answers: once more in one piece before anybody is blamed
            log.warning("wrong checksum after a resumed download, starting over", file=remote.path)
            self._download(item)
            item.finish()
        return item.done

    def missing(self, remotes: list[Remote]) -> int:
        """Bytes still to be downloaded, as far as sizes are known."""
        return sum(max(0, (remote.size or 0) - _Item(remote, self.folder).present()) for remote in remotes)

    def _still_good(self, item: "_Item") -> bool:
        """Whether an earlier try's file may be used: by its hash, or because the server says that it did not change."""
        if item.remote.sha256:
            good = sha256_of(item.done) == item.remote.sha256
        else:
            good = self.http.retrying(item.remote.url, lambda: self._unchanged(item))
        if not good:
            item.forget()
        return good

    def _unchanged(self, item: "_Item") -> bool:
        validators = item.conditional()
        if not validators:
            return item.remote.size in (None, item.done.stat().st_size)
        url = item.remote.url
        with (
            failures(url),
            self.http.client.stream("GET", url, headers={**item.remote.headers, **validators}) as response,
        ):
            check(response, url)
            return response.status_code == NOT_MODIFIED

    def _download(self, item: "_Item") -> None:
        self.http.retrying(item.remote.url, lambda: self._attempt(item))

    def _attempt(self, item: "_Item") -> None:
        start = item.present() if item.resumable() else 0
        if start and start == item.remote.size:
            return
        received = [0]
        url, headers = item.remote.url, {**item.remote.headers, **(item.range_headers(start) if start else {})}
        with failures(url, lambda: received[0] > 0), self.http.client.stream("GET", url, headers=headers) as response:
            if response.status_code == RANGE_NOT_SATISFIABLE and start:
                item.forget()
                raise TransientError("SourceUnreachable", f"{shown(url)} has another size than before", wait=0)
            check(response, url)
            start = _offset(response, start)
            item.begin(response, start)
            expected = _total(response, start)
            # as they come: whole pieces would be lost with the rest of one when the line breaks
            for count in item.append(response.iter_raw()):
                received[0] += count
                self.progress.add(count, item.remote.path)
        if expected is not None and item.present() != expected:
            message = f"{shown(url)} ended after {item.present()} of {expected} bytes"
            raise TransientError("SourceUnreachable", message, progressed=received[0] > 0)


class _Item:
    """One download's files: the begun content, what is known of its origin, and the complete content."""

    def __init__(self, remote: Remote, folder: Path) -> None:
        self.remote = remote
        name = hashlib.sha256(f"{remote.path}\0{remote.url}".encode()).hexdigest()[:24]
        self.part, self.meta, self.done = (folder / kind / name for kind in ("part", "meta", "done"))

    def present(self) -> int:
        """Bytes on the disk."""
        for path in (self.done, self.part):
            if path.exists():
                return path.stat().st_size
        return 0

    def resumable(self) -> bool:
        """Whether more bytes may be appended: only with a means to notice that the file changed meanwhile."""
        known = self._known()
        return self.part.exists() and bool(known) and bool(_validator(known) or self.remote.sha256)

    def range_headers(self, start: int) -> dict[str, str]:
        """Ask for the rest, and for the whole where the file is no longer the one that was begun."""
        validator = _validator(self._known())
        return {"Range": f"bytes={start}-"} | ({"If-Range": validator} if validator else {})

    def conditional(self) -> dict[str, str]:
        """Ask for an answer with content only if the file changed."""
        known = self._known()
        if known.get("etag"):
            return {"If-None-Match": str(known["etag"])}
        return {"If-Modified-Since": str(known["lastModified"])} if known.get("lastModified") else {}

    def begin(self, response: httpx.Response, start: int) -> None:
        """Note where the bytes to come are from, before the first of them is written."""
        if start == 0:
            self.part.write_bytes(b"")  # first: the note must never describe an earlier file's bytes
        headers = response.headers
        note = {"path": self.remote.path, "url": shown(self.remote.url), "urlHash": self._url_hash()}
        note |= {"etag": headers.get("ETag"), "lastModified": headers.get("Last-Modified")}
        disk.write(self.meta, json.dumps(note))

    def append(self, pieces: Iterator[bytes]) -> Iterator[int]:
        """Write the pieces; yields each one's length in bytes."""
        with self.part.open("ab", buffering=0) as file:
            for piece in pieces:
                file.write(piece)
                yield len(piece)

    def finish(self) -> None:
        """Verify size and hash and call the file complete. Raises StoreError ChecksumMismatch, the file removed."""
        remote = self.remote
        if remote.size is not None and self.part.stat().st_size != remote.size:
            self._refuse(f"{remote.path} has {self.part.stat().st_size} bytes, expected {remote.size}")
        if remote.sha256 and (actual := sha256_of(self.part)) != remote.sha256.lower():
            self._refuse(f"{remote.path} is {actual}, expected {remote.sha256.lower()}")
        disk.sync(self.part)
        self.part.replace(self.done)

    def _refuse(self, message: str) -> None:
        self.forget()
        raise StoreError("ChecksumMismatch", f"{message} ({shown(self.remote.url)}); correct the checksum or the file")

    def forget(self) -> None:
        """Remove everything of this download."""
        for path in (self.part, self.done, self.meta):
            path.unlink(missing_ok=True)

    def _known(self) -> dict[str, Any]:
        try:
            known = json.loads(self.meta.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) and known.get("urlHash") == self._url_hash() else {}

    def _url_hash(self) -> str:
        # the query may be a signature: a hash tells two URLs apart without keeping it
        return hashlib.sha256(self.remote.url.encode()).hexdigest()


def _validator(known: dict[str, Any]) -> str | None:
    etag = known.get("etag")
    if etag and not str(etag).startswith("W/"):  # a weak one does not promise equal bytes
        return str(etag)
    return known.get("lastModified")


def _offset(response: httpx.Response, asked: int) -> int:
    """Where the answer's bytes begin: at what was asked for, or at 0 when the server sends the whole."""
    if response.status_code != PARTIAL:
        return 0
    begin = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if begin != str(asked):
        raise StoreError("SourceUnreachable", f"{shown(str(response.url))} answered with another range than asked for")
    return asked


def _total(response: httpx.Response, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return start + int(length) if length and length.isdigit() else None
