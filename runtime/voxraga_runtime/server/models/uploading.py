"""From an uploaded form to a served model: bundle → gate → spoken test → published.

The same gate and the same publishing as the fetch Job's (`store`); what is different is only where the files come from.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from voxraga_runtime.common.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    Refused,
    StartupError,
    StorageFull,
    Unavailable,
)
from voxraga_runtime.common.settings import ServerSettings
from voxraga_runtime.server.models import stored as stores
from voxraga_runtime.server.models.form import Form, Part, receive
from voxraga_runtime.server.models.registry import Registry
from voxraga_runtime.server.models.stored import Stored
from voxraga_runtime.server.models.trying import limits_for, speak_confined
from voxraga_runtime.store import archive, disk, gate, manifest
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.listing import Listing, bundle_path
from voxraga_runtime.store.manifest import ModelInfo
from voxraga_runtime.store.uploads import NameTakenError, Uploads, name_fault

log = structlog.get_logger()

AT_ONCE = 2  # uploads under way: each may fill the disk, and wants a processor for its spoken test
RETRY = 10  # seconds
MADE_OF = {
    "model_file": gate.CHECKPOINT,
    "config_file": gate.CONFIG,
    "vocoder_file": f"{gate.VOCODER}/{gate.CHECKPOINT}",
    "vocoder_config_file": f"{gate.VOCODER}/{gate.CONFIG}",
}
"""Files of the form → their places in the bundle; those of `speakers_file` and `files` keep their names."""
NAMED, ARCHIVE = ("speakers_file", "files"), "archive"
TRUE, FALSE = ("true", "1"), ("false", "0", "")


@dataclass(frozen=True, slots=True)
class Order:
    """What the form's texts ask for."""

    name: str
    replace: bool
    licenses: list[str]


class Uploading:
    """Takes uploads for a registry. Without an uploads folder everything is refused with 403."""

    def __init__(self, settings: ServerSettings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._under_way = 0
        self._testing = asyncio.Lock()

    async def upload(self, body: AsyncIterator[bytes], content_type: str, size: int) -> tuple[Stored, dict[str, Any]]:
        """Receive, check, try and publish; returns the model and what its spoken test found.

        `size` is the announced length in bytes, 0 where there is none. Raises the errors of common.errors.
        """
        uploads = self._allowed()
        if self._under_way >= AT_ONCE:
            raise Unavailable(f"{AT_ONCE} uploads are under way", code="uploads_busy", retry_after=RETRY)
        self._under_way += 1
        try:
            with _answers(), disk.store_errors(uploads.path, size):
                disk.require_space(uploads.path, size)
                async with _workspace(uploads) as folder:
                    return await self._take(uploads, folder, body, content_type)
        finally:
            self._under_way -= 1

    async def _take(
        self, uploads: Uploads, folder: Path, body: AsyncIterator[bytes], content_type: str
    ) -> tuple[Stored, dict[str, Any]]:
        incoming, bundle, scratch = (folder / name for name in ("incoming", "bundle", "scratch"))
        for made in (incoming, bundle / manifest.FILES, scratch):
            made.mkdir(parents=True)
        form = await receive(body, content_type, incoming, self._settings.uploads_max_bytes)
        order = await asyncio.to_thread(self._order, form, uploads)
        info = await asyncio.to_thread(_admit, form, bundle / manifest.FILES, order)
        size = sum(file.stat().st_size for file in bundle.rglob("*"))
        async with self._testing:
            limits = limits_for(size, self._settings.cpu_threads)
            found = await speak_confined(bundle, scratch, limits)
        path = await asyncio.to_thread(_publish, uploads, order, bundle, info)
        log.info("model uploaded", model=order.name, bytes=size, architecture=info.architecture)
        return await asyncio.to_thread(stores.read, order.name, path), found

    async def delete(self, name: str) -> None:
        """Remove an uploaded model; it is unloaded once nobody speaks with it. Raises NotFound, Forbidden."""
        uploads = self._allowed()
        if self._registry.means_own(name):
            message = f"{name!r} is the server's own model; only uploaded ones can be removed"
            raise Forbidden(message, code="not_an_upload")
        with _answers(), disk.store_errors(uploads.path):
            removed = not name_fault(name) and await asyncio.to_thread(uploads.remove, name)
        self._registry.forget(name)
        if not removed:
            raise NotFound(f"there is no uploaded model {name[:80]!r}", param="model", code="model_not_found")
        log.info("model removed", model=name)

    def _allowed(self) -> Uploads:
        if self._registry.uploads is None:
            message = "this server takes no uploads: set VOXRAGA_UPLOADS_PATH to a writable folder"
            raise Forbidden(message, code="uploads_disabled")
        return self._registry.uploads

    def _order(self, form: Form, uploads: Uploads) -> Order:
        name = form.texts.get("model_name", "")
        if fault := name_fault(name):
            raise InvalidRequest(f"model_name: {fault}", param="model_name")
        replace = form.texts.get("replace", "").lower()
        if replace not in (*TRUE, *FALSE):
            raise InvalidRequest(f"replace is {replace[:80]!r}; it must be true or false", param="replace")
        if self._registry.means_own(name):
            raise Conflict(f"model_name: {name!r} means the server's own model; choose another", param="model_name")
        if replace in FALSE and uploads.find(name) is not None:
            raise _taken(name)
        licenses = [item.strip() for item in form.texts.get("accepted_licenses", "").split(",")]
        return Order(name, replace in TRUE, licenses)


def open_uploads(settings: ServerSettings) -> Uploads | None:
    """The uploads folder, cleaned of what was broken off; None where uploads are off.

    Raises StartupError (SettingsInvalid) where the settings don't fit together, or the folder can't be written.
    """
    if settings.uploads_path is None:
        if settings.models_preload:
            raise _invalid("VOXRAGA_MODELS_PRELOAD names models, but VOXRAGA_UPLOADS_PATH is not set")
        return None
    if settings.task == "SpeechToText":
        raise _invalid("VOXRAGA_UPLOADS_PATH is set, but uploads are for VOXRAGA_TASK TextToSpeech")
    if settings.api_keys_path is None and not settings.uploads_without_keys:
        raise _invalid(
            "VOXRAGA_UPLOADS_PATH is set without VOXRAGA_API_KEYS_PATH: anybody could bring a model. Set keys, or, on "
            "your own machine, VOXRAGA_UPLOADS_WITHOUT_KEYS=true"
        )
    if len(settings.models_preload) >= settings.models_max_loaded:
        most = settings.models_max_loaded - 1
        raise _invalid(f"VOXRAGA_MODELS_PRELOAD: VOXRAGA_MODELS_MAX_LOADED leaves {most} beside the own model")
    uploads = Uploads(settings.uploads_path)
    try:
        uploads.prepare()
    except (StoreError, OSError) as error:
        message = error.message if isinstance(error, StoreError) else str(error)
        raise _invalid(f"VOXRAGA_UPLOADS_PATH: {message}") from None
    return uploads


@asynccontextmanager
async def _workspace(uploads: Uploads) -> AsyncIterator[Path]:
    """`Uploads.workspace` without keeping the event loop from its work: removing gigabytes takes a while."""
    space = uploads.workspace()
    folder = await asyncio.to_thread(space.__enter__)
    try:
        yield folder
    finally:
        await asyncio.to_thread(space.__exit__, None, None, None)


def _invalid(message: str) -> StartupError:
    return StartupError("SettingsInvalid", message)


def _admit(form: Form, files: Path, order: Order) -> ModelInfo:
    """Put the bundle together and let it through the gate."""
    _fill(form.files, files)
    try:
        return gate.admit(files, Listing(order.name, ()), order.licenses)
    except StoreError as error:
        if error.reason == "LicenseNotAccepted":
            message = error.message.partition("; to accept it")[0] + "; to accept it, send accepted_licenses=CPML"
            raise StoreError(error.reason, message) from None
        raise


def _fill(parts: list[Part], files: Path) -> None:
    if any(part.field == ARCHIVE for part in parts) and len(parts) > 1:
        raise InvalidRequest("an archive comes alone: put all the files into it", param=ARCHIVE)
    for part in parts:
        if part.field == ARCHIVE:
            archive.extract(part.path, files, f"{ARCHIVE} ({part.filename[:80]!r})")
            continue
        target = files / _place(part)
        if target.exists():
            raise InvalidRequest(f"{part.field}: {part.filename[:80]!r} comes twice", param=part.field)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(part.path, target)
    missing = [name for name in ("model_file", "config_file") if not any(part.field == name for part in parts)]
    if missing and not any(part.field == ARCHIVE for part in parts):
        message = f"{missing[0]} is missing: bring model_file and config_file, or an archive with both"
        raise InvalidRequest(message, param=missing[0])


def _place(part: Part) -> str:
    if part.field in MADE_OF:
        return MADE_OF[part.field]
    if part.field in NAMED:
        return bundle_path(part.filename, part.field)
    allowed = ", ".join((*MADE_OF, *NAMED, ARCHIVE))
    raise InvalidRequest(f"{part.field[:80]!r} is no file of an upload; there are {allowed}", param=part.field[:80])


def _publish(uploads: Uploads, order: Order, bundle: Path, info: ModelInfo) -> Path:
    source: dict[str, object] = {"upload": {"name": order.name}}
    content = manifest.make(bundle / manifest.FILES, key=order.name, source=source, revision="", model=info)
    try:
        return uploads.publish(order.name, bundle, content, replace=order.replace)
    except NameTakenError:
        raise _taken(order.name) from None


def _taken(name: str) -> Conflict:
    message = f"model_name: there is a model {name!r} already; send replace=true to put this one in its place"
    return Conflict(message, param="model_name")


@contextmanager
def _answers() -> Iterator[None]:
    """The store's reasons as answers over HTTP."""
    try:
        yield
    except StoreError as error:
        if error.reason == "StoreFull":
            raise StorageFull(error.message) from None
        if error.retriable:
            raise Unavailable(error.message, code=_snake(error.reason), retry_after=RETRY) from None
        raise Refused(error.message, code=_snake(error.reason)) from None


def _snake(reason: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in reason).removeprefix("_")
