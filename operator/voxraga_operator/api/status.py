"""What is known of a VoiceModel: the status that people, kubectl and other programs read."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.json_schema import WithJsonSchema

from voxraga_operator.api.common import Part, atomic_list, map_list

Phase = Literal["Pending", "Storing", "Starting", "Updating", "Ready", "Degraded", "Idle", "Failed"]
StorePhase = Literal["Pending", "Fetching", "Stored", "Failed"]

Line = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0)]
Bytes = Annotated[int, Field(ge=0), WithJsonSchema({"type": "integer", "format": "int64", "minimum": 0})]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class Condition(Part):
    """One thing that is so, is not so, or is not known, and why."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, in one word, for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, and what to do about it, for people."""
    observed_generation: Annotated[
        int, Field(ge=0), WithJsonSchema({"type": "integer", "format": "int64", "minimum": 0})
    ]
    """metadata.generation of the VoiceModel that this was found out about."""
    last_transition_time: Time
    """When the status last changed."""


class ModelStatus(Part):
    """The model, as it was found in the store."""

    name: Annotated[str, Field(max_length=2048)] | None = None
    """What the model is called; that of its source as long as it has not been fetched."""
    architecture: Line | None = None
    """Kind of network, such as "vits"."""
    revision: Line | None = None
    """Version of the source that was fetched, such as a commit."""
    digest: Annotated[str, Field(max_length=128)] | None = None
    """Checksum over all files of the model."""
    bytes: Bytes | None = None
    """Size of all files of the model."""
    sample_rate: Count | None = None
    """Samples of audio a second."""
    languages: Annotated[tuple[Line, ...], Field(max_length=1024, json_schema_extra=atomic_list())] | None = None
    """Languages it speaks."""
    voices: Annotated[tuple[Line, ...], Field(max_length=4096, json_schema_extra=atomic_list())] | None = None
    """Voices it speaks with, as far as there is room."""
    voices_truncated: bool | None = None
    """Whether it has more voices than are listed."""
    license: Line | None = None
    """Licence it is published under."""


class StoreStatus(Part):
    """The model store."""

    phase: StorePhase | None = None
    """How far the wanted model is."""
    claim: Annotated[str, Field(max_length=253)] | None = None
    """PersistentVolumeClaim that holds the files."""
    claim_uid: Annotated[Annotated[str, Field(max_length=64)] | None, Field(alias="claimUID")] = None
    """Its uid: what was stored in another claim of that name is gone."""
    key: Annotated[str, Field(max_length=64)] | None = None
    """Key of the model that status.model tells about."""
    path: Line | None = None
    """Folder of that model on the volume, as pods see it."""


class DeviceStatus(Part):
    """What the model runs on."""

    active: Literal["CPU", "GPU"] | None = None
    """What the pods ask for."""
    reason: Line | None = None
    """Why."""


class AutoscalingStatus(Part):
    """Who decides how many pods there are."""

    mode: Literal["Fixed", "HorizontalPodAutoscaler"] | None = None
    """Fixed: spec.replicas says it. HorizontalPodAutoscaler: the load says it, within spec.autoscaling."""
    reason: Line | None = None
    """Why, and within which bounds."""


class VoiceModelStatus(Part):
    """What is known of the VoiceModel; written by the operator only."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=map_list("type"))] | None = None
    """Ready: the model as specified answers at status.url. ModelStored: its files are complete and verified.
    AcceleratorReady: the cluster has what device asks for. AutoscalingActive: the autoscaler can do its work.
    Reconciling: something is under way. Stalled: nothing goes on until somebody acts. Degraded: it serves, but not as
    specified.
    """
    observed_generation: (
        Annotated[int, Field(ge=0), WithJsonSchema({"type": "integer", "format": "int64", "minimum": 0})] | None
    ) = None
    """metadata.generation that this status tells about."""
    phase: Phase | None = None
    """The whole in one word, for people; programs should read conditions."""
    url: Annotated[str, Field(max_length=2048)] | None = None
    """Where the model is reached: the base of /v1/audio/speech."""
    replicas: Count | None = None
    """Server pods there are."""
    ready_replicas: Count | None = None
    """Server pods that answer."""
    ready: Annotated[str, Field(max_length=32)] | None = None
    """Pods that answer of those wanted, as n/m."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the server pods, for autoscalers."""
    model: ModelStatus | None = None
    """The model in the store."""
    store: StoreStatus | None = None
    """The model store."""
    device: DeviceStatus | None = None
    """What the model runs on."""
    autoscaling: AutoscalingStatus | None = None
    """Who decides how many pods there are."""


def condition_of(status: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """A condition of a status by its type."""
    found: list[dict[str, Any]] = status.get("conditions") or []
    return next((condition for condition in found if condition.get("type") == kind), None)
