"""Source `catalog`: coqui's own catalogue, read as data from the installed package (TTS/.models.json)."""

import difflib
import functools
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.http import Http
from voxraga_runtime.store.licenses import require_accepted
from voxraga_runtime.store.listing import Listing, Remote, is_archive
from voxraga_runtime.store.settings import Catalog, HuggingFace, Settings

from . import huggingface

VOCODER = "vocoder"
UNSUPPORTED = {"bark": "unpickles arbitrary objects when loaded", "tortoise-v2": "takes minutes a sentence"}
SUGGESTIONS = 3


class Entry(BaseModel):
    """One model of the catalogue: where its files are (archives or a repository), its vocoder and its licence."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    archives: tuple[str, ...] = Field(default=(), validation_alias="github_rls_url")
    repo_id: str = ""
    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    default_vocoder: str | None = None
    license: str = ""
    tos_required: bool = False

    @field_validator("archives", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @property
    def kind(self) -> str:
        """`tts_models`, `vocoder_models` or `voice_conversion_models`."""
        return self.name.partition("/")[0]

    @property
    def language(self) -> str:
        """The entry's language, '' when it has several."""
        language = self.name.split("/")[1]
        return "" if language in ("multilingual", "universal") else language


@functools.cache
def entries() -> dict[str, Entry]:
    """Every entry of the installed catalogue by its name `type/language/dataset/model`."""
    return {entry.name: entry for entry in _parse(json.loads(_catalogue().read_text(encoding="utf-8")))}


def _catalogue() -> Path:
    # found without importing TTS: that would import torch, seconds and gigabytes that a download has no use for
    spec = importlib.util.find_spec("TTS")
    if spec is None or not spec.submodule_search_locations:
        raise StoreError("InternalError", "coqui-tts is not installed in this image: it has no catalogue")
    return Path(next(iter(spec.submodule_search_locations))) / ".models.json"


def _parse(document: dict[str, Any]) -> Iterator[Entry]:
    for kind, languages in document.items():
        for language, datasets in languages.items():
            for dataset, models in datasets.items():
                for model, entry in models.items():
                    yield Entry.model_validate({**entry, "name": f"{kind}/{language}/{dataset}/{model}"})


def find(name: str) -> Entry:
    """The entry of that name. Raises StoreError UnknownCatalogModel with the closest names."""
    found = entries().get(name)
    if found is not None:
        return found
    if name.split("/")[2:3] == ["fairseq"]:
        raise StoreError("UnsupportedModel", f"{name}: fairseq (MMS) models are not supported yet")
    speaking = [entry for entry in entries() if entry.startswith("tts_models/")]
    close = difflib.get_close_matches(name, speaking, SUGGESTIONS, cutoff=0.5)
    hint = f"; did you mean {', '.join(close)}?" if close else "; `tts --list_models` lists the names"
    raise StoreError("UnknownCatalogModel", f"spec.source.catalog.name: coqui's catalogue has no {name!r}{hint}")


def with_vocoder(entry: Entry) -> list[tuple[str, Entry]]:
    """The entries that a model needs, each with its folder in the bundle: itself, and its vocoder in `vocoder/`."""
    parts = [("", entry)]
    if entry.default_vocoder:
        parts.append((VOCODER, find(entry.default_vocoder)))
    return parts


def plan(entry: Entry) -> list[tuple[str, str]]:
    """(folder in the bundle, archive URL or repository id) of everything that the entry needs, without the network."""
    return [
        (folder, place) for folder, part in with_vocoder(entry) for place in (*part.archives, part.repo_id) if place
    ]


def resolve(source: Catalog, settings: Settings, http: Http) -> Listing:
    """The files of a catalogue model and its vocoder.

    Raises StoreError: UnknownCatalogModel, UnsupportedModel, LicenseNotAccepted, or a Source… reason.
    """
    entry = find(source.name)
    _require_supported(entry)
    if entry.tos_required:  # before a gigabyte is downloaded that may not be used
        require_accepted(entry.license, entry.name, settings.accepted_licenses)
    listings = [_part(folder, part, settings, http) for folder, part in with_vocoder(entry)]
    files = tuple(file for listing in listings for file in listing.files)
    return Listing(entry.name, files, listings[0].revision, entry.license, entry.language)


def _require_supported(entry: Entry) -> None:
    if entry.kind != "tts_models":
        raise StoreError("UnsupportedModel", f"{entry.name} does not speak text; choose one of tts_models/…")
    why = UNSUPPORTED.get(entry.name.split("/")[-1])
    if why:
        raise StoreError("UnsupportedModel", f"{entry.name} is not served: it {why}")


def _part(folder: str, entry: Entry, settings: Settings, http: Http) -> Listing:
    if entry.archives:
        files = tuple(_archive(folder, url, settings.catalog_mirror) for url in entry.archives)
        # …/releases/download/<tag>/<file>: the tag is what the project calls the version
        return Listing(entry.name, files, revision=PurePosixPath(urlsplit(entry.archives[0]).path).parent.name)
    repository = HuggingFace(repo=entry.repo_id, include=list(entry.allow), exclude=list(entry.ignore))
    found = huggingface.resolve(repository, settings, http)
    return Listing(found.name, tuple(_inside(folder, file) for file in found.files), found.revision)


def _archive(folder: str, url: str, mirror: str) -> Remote:
    if is_archive(url):
        return Remote(folder, mirrored(url, mirror), unpack=True)
    return _inside(folder, Remote(PurePosixPath(urlsplit(url).path).name, mirrored(url, mirror)))


def mirrored(url: str, mirror: str) -> str:
    """The URL at the mirror: its scheme and host replaced, its path kept."""
    return mirror.rstrip("/") + urlsplit(url).path if mirror else url


def _inside(folder: str, file: Any) -> Remote:
    path = f"{folder}/{file.path}" if folder else file.path
    return Remote(path, file.url, file.size, file.sha256, headers=file.headers)
