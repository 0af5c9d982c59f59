"""Where a model comes from: exactly one of several sources."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from voxraga_operator.api.common import (
    RELATIVE_PATH_RULE,
    DnsName,
    Identifier,
    Part,
    map_list,
    rule,
    rules,
)


class SecretReference(Part):
    """A Secret in the VoiceModel's namespace. It is mounted into the fetch Job as files, never put into its
    environment.
    """

    name: DnsName
    """Name of the Secret."""


class CatalogSource(Part):
    """A model of coqui's catalogue, by its name there."""

    name: Annotated[
        str,
        Field(
            min_length=1, max_length=256, pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$"
        ),
    ]
    """Name in four parts: type/language/dataset/architecture, such as "tts_models/en/vctk/vits"."""


class HuggingFaceSource(Part):
    """A repository of the Hugging Face hub that holds a coqui model (its weights and its config.json), or a Whisper
    model for task SpeechToText (config.json, model.safetensors, the tokenizer's files).
    """

    repo: Annotated[str, Field(min_length=3, max_length=256, pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")]
    """Repository as owner/name."""
    revision: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] = "main"
    """Branch, tag or commit. The commit that it stood for when it was fetched is in status.model.revision; name a
    commit to have the same files for ever.
    """
    secret_ref: SecretReference | None = None
    """Secret with a `token`, for gated and private repositories."""


class HttpFile(Part):
    """A file to download."""

    url: Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^https?://[^\s/@?#]+(/[^\s]*)?$")]
    """Address, http or https. User and password don't belong here: use secretRef."""
    path: Annotated[str, Field(min_length=1, max_length=255, json_schema_extra=rules(RELATIVE_PATH_RULE))]
    """Where the file belongs inside the model, such as "config.json" or "speakers/anna.pth"."""
    sha256: Annotated[str, Field(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the file's content in 64 lower-case hex digits; a file that differs is refused."""


class HttpSource(Part):
    """Files from web servers, each pinned by its checksum."""

    files: Annotated[tuple[HttpFile, ...], Field(min_length=1, max_length=64, json_schema_extra=map_list("path"))]
    """The model's files: its weights, its config.json and whatever the config names."""
    secret_ref: SecretReference | None = None
    """Secret with a `token` (sent as Bearer), or with `username` and `password` (Basic)."""


class ClaimSource(Part):
    """A folder on a volume that exists already: mounted read-only into the fetch Job and copied into the store."""

    claim_name: DnsName
    """PersistentVolumeClaim in the VoiceModel's namespace."""
    path: Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra=rules(RELATIVE_PATH_RULE))] | None = (
        None
    )
    """Folder on the volume, relative to its root; the root itself where none is given."""


class BuiltinSource(Part):
    """A voice that is part of the runtime image: no network is needed."""

    name: Literal["demo"]
    """Name of the voice. "demo" is small and speaks English."""


_MEMBERS = ("catalog", "huggingFace", "http", "persistentVolumeClaim", "builtin")


class Source(Part):
    """Where the model comes from: set exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"[{', '.join(f'has(self.{member})' for member in _MEMBERS)}].filter(given, given).size() == 1",
                f"set exactly one source: {', '.join(_MEMBERS[:-1])} or {_MEMBERS[-1]}",
            )
        )
    )

    catalog: CatalogSource | None = None
    """A model of coqui's catalogue."""
    hugging_face: HuggingFaceSource | None = None
    """A repository of the Hugging Face hub."""
    http: HttpSource | None = None
    """Files from web servers, each pinned by its checksum."""
    persistent_volume_claim: ClaimSource | None = None
    """A folder on a volume that exists already."""
    builtin: BuiltinSource | None = None
    """A voice that is part of the runtime image."""

    @property
    def label(self) -> str:
        """What a person would call the source in one word."""
        if self.catalog:
            return self.catalog.name
        if self.hugging_face:
            return self.hugging_face.repo
        if self.http:
            return self.http.files[0].url
        if self.persistent_volume_claim:
            return self.persistent_volume_claim.claim_name
        return self.builtin.name if self.builtin else ""

    @property
    def secret_name(self) -> str | None:
        """Secret that the fetch Job needs."""
        holder = self.hugging_face or self.http
        return holder.secret_ref.name if holder and holder.secret_ref else None

    @property
    def secret_field(self) -> str:
        """Path of the field that names the Secret."""
        return f"spec.source.{'huggingFace' if self.hugging_face else 'http'}.secretRef.name"


class License(Part):
    """Licences that the user of this VoiceModel has agreed to."""

    accepted: Annotated[
        tuple[Identifier, ...], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = ()
    """Names of licences, such as "CPML". A model whose licence asks for consent is fetched only where its name is
    listed here.
    """
