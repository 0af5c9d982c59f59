"""The command `fetch`: download → verify → publish, and one JSON object of last words for the operator."""

import json
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from voxraga_runtime.common import logs
from voxraga_runtime.common.termination import LIMIT, write_termination_message

from . import archive, disk, gate, manifest, settings, sources, whisper
from .download import Downloader, Progress
from .errors import StoreError
from .http import Http
from .listing import Listing, Local, Remote
from .publish import Store

DONE, AGAIN, FAILED = 0, 1, 2
SPARE = 200  # bytes of the termination message left to the other fields' growth

log = structlog.get_logger(__name__)


class Stopped(BaseException):
    """SIGTERM: the pod has to go; the partial download stays for the next one."""


def main() -> int:
    """Fetch by the environment's settings. Returns the exit code: 0 published, 1 worth another try, 2 not."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        chosen = settings.load()
        logs.setup(chosen.log_level)
        return _end(_published(fetch(chosen)), DONE)
    except StoreError as error:
        return _failed(error)
    except Stopped:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        message = "stopped by SIGTERM; what was downloaded is kept and the next try resumes it"
        return _failed(StoreError("InternalError", message))
    except Exception as error:
        log.exception("fetch failed unexpectedly")
        return _failed(StoreError("InternalError", f"{type(error).__name__}: {error}"))


def fetch(chosen: settings.Settings) -> manifest.Manifest:
    """Fill the store and return the published manifest. Raises StoreError with a reason of docs/contract.md."""
    store = Store(chosen.store_path, chosen.store_key)
    with disk.store_errors(chosen.store_path):
        store.prepare()
        with store.lock(chosen.lock_timeout):
            found = store.published() or _fetch(store, chosen)
            store.collect(chosen.keep)
            return found


def _fetch(store: Store, chosen: settings.Settings) -> manifest.Manifest:
    with Http(timeout=chosen.fetch_timeout, attempts=chosen.fetch_attempts, backoff=chosen.fetch_backoff) as http:
        listing = sources.resolve(chosen, http)
        log.info("fetching", source=listing.name, revision=listing.revision, files=len(listing.files))
        bundle = store.work / "bundle"
        gate.clear(bundle)
        _fill(bundle / manifest.FILES, listing, store, http)
    model = _admit(bundle / manifest.FILES, listing, chosen)
    content = manifest.make(
        bundle / manifest.FILES,
        key=chosen.store_key,
        source=chosen.source.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True),
        revision=listing.revision,
        model=model,
    )
    store.publish(bundle, content)
    log.info("published", key=store.key, digest=content.digest, bytes=content.bytes, files=len(content.files))
    return content


def _admit(files: Path, listing: Listing, chosen: settings.Settings) -> manifest.ModelInfo:
    if chosen.task == "SpeechToText":
        return whisper.admit(files, listing)
    return gate.admit(files, listing, chosen.accepted_licenses)


def _fill(files: Path, listing: Listing, store: Store, http: Http) -> None:
    """Put the bundle together: everything downloaded or copied first, then linked or unpacked to its place."""
    files.mkdir(parents=True, exist_ok=True)
    remotes = [file for file in listing.files if isinstance(file, Remote)]
    locals_ = [file for file in listing.files if isinstance(file, Local)]
    progress = Progress(total=sum(file.size or 0 for file in remotes) if all(file.size for file in remotes) else 0)
    downloader = Downloader(http, store.work / "downloads", progress)
    disk.require_space(store.path, downloader.missing(remotes) + sum(file.size for file in locals_))
    for local in locals_:
        archive.copy(local.origin, files / local.path, local.path)
    for remote, copy in [(remote, downloader.fetch(remote)) for remote in remotes]:
        if remote.unpack:
            archive.extract(copy, files / remote.path, remote.url.rpartition("/")[2])
        else:
            disk.link(copy, files / remote.path)


def _published(content: manifest.Manifest) -> dict[str, Any]:
    """The termination message of a success; voices are cut until it fits."""
    model = content.model.model_dump(by_alias=True)
    message: dict[str, Any] = {"outcome": "Published", "digest": content.digest, "bytes": content.bytes}
    message |= {"revision": content.revision, "model": model}
    while model["voices"] and len(json.dumps(message, ensure_ascii=False).encode()) > LIMIT - SPARE:
        model["voices"] = model["voices"][: len(model["voices"]) * 9 // 10]
        message["voicesTruncated"] = True
    return message


def _failed(error: StoreError) -> int:
    message = {"outcome": "Failed", "reason": error.reason, "message": error.message, "retriable": error.retriable}
    return _end(message, AGAIN if error.retriable else FAILED)


def _end(message: dict[str, Any], code: int) -> int:
    write_termination_message(message)
    if not structlog.is_configured():
        logs.setup()  # the settings themselves were wrong
    log.info("fetch ended", code=code, result=message)
    return code


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped
