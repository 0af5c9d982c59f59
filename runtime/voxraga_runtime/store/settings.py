"""What `fetch` is told by its environment (docs/contract.md), typed; a mistake names the variable."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from .errors import StoreError

PREFIX = "VOXRAGA_"
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


class Part(BaseModel):
    """A piece of spec.source: camelCase as in the CRD; fields that only the operator needs are passed over."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Catalog(Part):
    """A model of coqui's catalogue, for example `tts_models/en/vctk/vits`."""

    name: str = Field(min_length=1)


class HuggingFace(Part):
    """A repository on a Hugging Face hub; `include` and `exclude` are globs over its paths."""

    repo: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    revision: str = "main"
    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)


class HttpFile(Part):
    """One file by URL: `path` is its place in the bundle (default: the URL's last part), `sha256` its expected hash."""

    url: str = Field(pattern=r"^https?://[^/\s]+")
    path: str = ""
    sha256: Hex64 | None = None


class Http(Part):
    """Files by URL."""

    files: list[HttpFile] = Field(min_length=1)


class Claim(Part):
    """A folder of a mounted claim."""

    claim_name: str = ""
    path: str | None = None


class Builtin(Part):
    """A voice inside the image."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")


class Source(Part):
    """spec.source: exactly one of its fields is set."""

    catalog: Catalog | None = None
    hugging_face: HuggingFace | None = None
    http: Http | None = None
    persistent_volume_claim: Claim | None = None
    builtin: Builtin | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Source":
        names = list(type(self).model_fields)
        found = [name for name in names if getattr(self, name) is not None]
        if len(found) != 1:
            raise ValueError(f"exactly one of {', '.join(map(to_camel, names))} must be set, found {len(found)}")
        return self


class Settings(BaseSettings):
    """The settings of `fetch`. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    source: Source
    task: Literal["TextToSpeech", "SpeechToText"] = "TextToSpeech"
    store_key: str = Field(pattern=r"^[0-9a-f]{16}$")
    store_path: Path = Path("/store")
    source_path: Path = Path("/source")
    secret_path: Path | None = None
    accepted_licenses: list[str] = Field(default_factory=list)
    keep: list[str] = Field(default_factory=list)
    log_level: Annotated[str, NoDecode] = "info"

    catalog_mirror: str = ""
    """Replaces scheme and host of the catalogue's URLs, the path stays: for a mirror inside an air-gapped network."""
    hf_endpoint: str = Field(default="https://huggingface.co", validation_alias="HF_ENDPOINT")
    fetch_timeout: float = Field(default=30.0, gt=0)
    """Seconds without an answer or without a byte until an attempt counts as failed."""
    fetch_attempts: int = Field(default=6, ge=1)
    """Attempts in a row that bring no byte before the fetch gives up; the Job's own retries come on top."""
    fetch_backoff: float = Field(default=1.0, ge=0)
    """Seconds before the second attempt; doubles with each further one, up to 30."""
    lock_timeout: float = Field(default=600.0, ge=0)
    """Seconds to wait for another fetch that is working in the same store."""


def load() -> Settings:
    """Read the environment. Raises StoreError SettingsInvalid naming each wrong variable, its fault and its value."""
    try:
        return Settings()
    except SettingsError as error:
        raise StoreError("SettingsInvalid", _not_json(error)) from error
    except ValidationError as error:
        raise StoreError("SettingsInvalid", "; ".join(_faults(error))) from error


def _not_json(error: SettingsError) -> str:
    # the library's message ends in: error parsing value for field "keep" from source "EnvSettingsSource"
    field = str(error).partition('field "')[2].partition('"')[0]
    cause = error.__cause__
    detail = f": {cause}" if isinstance(cause, json.JSONDecodeError) else ""
    return f"{_variable(field)} is not valid JSON{detail}"


def _faults(error: ValidationError) -> list[str]:
    return [_fault(dict(fault)) for fault in error.errors(include_url=False)]


def _fault(fault: dict[str, Any]) -> str:
    first, *rest = fault["loc"]
    where = _variable(str(first)) + ("".join(f".{part}" for part in rest))
    if fault["type"] == "missing":
        return f"{where} is not set"
    found = json.dumps(fault.get("input"), default=str)
    return f"{where}: {fault['msg']} (found {found[:200]})"


def _variable(field: str) -> str:
    return field if field.isupper() else PREFIX + field.upper()
