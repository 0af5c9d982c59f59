"""The manifest of a published model: what is in the store, proved by hashes. Read by the server, written by fetch.

The layout is the contract's (docs/contract.md): `<model path>/manifest.json` beside `<model path>/files/…`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from .errors import StoreError

NAME = "manifest.json"
FILES = "files"
CHUNK = 1 << 20  # bytes read at once when hashing


class Record(BaseModel):
    """Shared behaviour: camelCase in JSON, unknown fields ignored so that an older reader can read a newer manifest."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class File(Record):
    """One file of the bundle: path relative to `files/` with forward slashes, sha256 in hex, size in bytes."""

    path: str
    sha256: str
    bytes: int


class ModelInfo(Record):
    """What a person and the server want to know of a model; shown in status.model. sampleRate is in hertz."""

    name: str = ""
    architecture: str = ""
    sample_rate: int = 0
    languages: list[str] = Field(default_factory=list)
    voices: list[str] = Field(default_factory=list)
    license: str = ""


class Manifest(Record):
    """The content of manifest.json; `source` is spec.source's kind and place, without secrets."""

    key: str
    source: dict[str, object]
    revision: str
    digest: str
    bytes: int
    files: list[File]
    model: ModelInfo

    def dump(self) -> str:
        """The JSON text that is written to manifest.json."""
        return json.dumps(self.model_dump(by_alias=True), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes in hex; reads it in pieces, so that gigabytes need no memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def digest_of(files: Iterable[File]) -> str:
    """`sha256:` and the sha256 over the lines `<sha256>  <path>` of the files, sorted by path: the contract's."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda file: file.path))
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def describe(folder: Path) -> list[File]:
    """Hash every file under `folder`, sorted by path."""
    found = sorted(relative_files(folder))
    return [File(path=path, sha256=sha256_of(folder / path), bytes=(folder / path).stat().st_size) for path in found]


def make(folder: Path, *, key: str, source: dict[str, object], revision: str, model: ModelInfo) -> Manifest:
    """The manifest of the bundle in `folder`; where the source tells no revision, the digest stands for it."""
    files = describe(folder)
    digest = digest_of(files)
    return Manifest(
        key=key,
        source=source,
        revision=revision or digest,
        digest=digest,
        bytes=sum(file.bytes for file in files),
        files=files,
        model=model,
    )


def relative_files(folder: Path) -> Iterator[str]:
    """The paths of everything that is not a folder, relative to `folder`, links included and not followed."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def load(model_path: Path) -> Manifest:
    """Read `<model_path>/manifest.json`.

    Raises StoreError: InvalidModel when it is missing or is no manifest. Files are not looked at; `verify` does that.
    """
    path = Path(model_path) / NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StoreError("InvalidModel", f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise StoreError("InvalidModel", f"{path} is no manifest: {field}: {first['msg']}") from error


def verify(model_path: Path) -> Manifest:
    """Hash every file of a published model against its manifest and return the manifest.

    Raises StoreError: InvalidModel for a missing, additional or unreadable file, ChecksumMismatch for a changed one.
    """
    manifest = load(model_path)
    folder = Path(model_path) / FILES
    expected = {file.path: file for file in manifest.files}
    found = set(relative_files(folder))
    if found != set(expected):
        missing, more = sorted(set(expected) - found), sorted(found - set(expected))
        raise StoreError("InvalidModel", f"{folder} does not match its manifest: missing {missing}, not listed {more}")
    for file in manifest.files:
        _verify_file(folder / file.path, file)
    if digest_of(manifest.files) != manifest.digest:
        raise StoreError("ChecksumMismatch", f"{model_path}/{NAME}: digest does not match the files it lists")
    return manifest


def _verify_file(path: Path, file: File) -> None:
    if path.is_symlink():
        raise StoreError("InvalidModel", f"{path} is a symbolic link; the store holds files only")
    try:
        actual = sha256_of(path)
    except OSError as error:
        raise StoreError("InvalidModel", f"{path} cannot be read: {error.strerror}") from error
    if actual != file.sha256:
        raise StoreError("ChecksumMismatch", f"{file.path} is {actual}, expected {file.sha256} (the manifest)")
