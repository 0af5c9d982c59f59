"""The VoiceModel: one model, served."""

# ruff: noqa: RUF012 - pydantic copies a default for every object

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from voxraga_operator.api.access import Access
from voxraga_operator.api.autoscaling import Autoscaling
from voxraga_operator.api.common import API_VERSION, Part, rule, rules
from voxraga_operator.api.device import Device
from voxraga_operator.api.pod import PodTemplate
from voxraga_operator.api.serving import Image, Resources, Rollout, Service, Serving
from voxraga_operator.api.source import License, Source
from voxraga_operator.api.status import VoiceModelStatus
from voxraga_operator.api.store import Store

KIND = "VoiceModel"
PLURAL = "voicemodels"


class VoiceModelSpec(Part):
    """What is to be served, and how. Everything but the source has a default."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.task != 'SpeechToText' || !(has(self.source.catalog) || has(self.source.builtin))",
                "catalog and builtin have voices only: a model for SpeechToText comes from huggingFace, http or"
                " persistentVolumeClaim",
                field_path=".source",
            ),
            rule(
                "self.task != 'SpeechToText' || !(self.serving.wyoming.enabled || self.serving.uploads.enabled)",
                "serving.wyoming and serving.uploads are for models that speak: leave them off with task SpeechToText",
                field_path=".serving",
            ),
            rule(
                "!self.serving.wyoming.enabled || !(self.serving.wyoming.port in [8080, self.service.port])",
                "serving.wyoming.port must differ from service.port, and from the server's own, 8080",
                field_path=".serving",
            ),
            rule(
                "!self.serving.uploads.enabled || has(self.access.apiKeys)",
                "serving.uploads needs access.apiKeys: without keys, whoever reaches the server could bring models",
                field_path=".serving",
            ),
        )
    )

    task: Annotated[
        Literal["TextToSpeech", "SpeechToText"],
        Field(json_schema_extra=rules(rule("self == oldSelf", "task can't be changed: make another VoiceModel"))),
    ] = "TextToSpeech"
    """What the model does. TextToSpeech: a model of coqui-tts speaks. SpeechToText: a Whisper model, as transformers
    publishes it, writes down what it hears.
    """
    source: Source
    """Where the model comes from: exactly one of catalog, huggingFace, http, persistentVolumeClaim or builtin. While
    a changed source is fetched, the earlier model goes on serving.
    """
    license: License = License()
    """Licences you have agreed to, for models that ask for it."""
    store: Store = Store()
    """The volume that holds the model's files."""
    device: Device = Device()
    """What the model runs on: CPUs or GPUs."""
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    """Numbers that the model computes with. The halves take half the memory; they are for GPUs."""
    replicas: Annotated[int, Field(ge=0, le=100)] = 1
    """Server pods; 0 stops serving and keeps the store. Means nothing while autoscaling is set."""
    autoscaling: Autoscaling | None = None
    """Lets the number of pods follow the load."""
    resources: Resources = Resources()
    """What one server pod asks for and may use."""
    serving: Serving = Serving()
    """Limits and defaults of the server."""
    access: Access = Access()
    """Who may call the server."""
    service: Service = Service()
    """The Service under which the model is reached."""
    rollout: Rollout = Rollout()
    """How a change reaches the server pods."""
    pod_template: PodTemplate = PodTemplate()
    """What is added to the pods."""
    image: Image = Image()
    """Images of the runtime, where the operator's own defaults will not do."""


class OwnMetadata(Part):
    """The part of metadata that planning needs."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    deletion_timestamp: str | None = None


class VoiceModel(Part):
    """One model, served over HTTP, that speaks or that hears: its files in a store, its server pods, their Service and
    autoscaler.
    """

    api_version: Literal["voxraga.io/v1alpha1"] = API_VERSION  # type: ignore[assignment]
    kind: Literal["VoiceModel"] = "VoiceModel"
    metadata: OwnMetadata
    spec: VoiceModelSpec
    """What is to be served, and how."""
    status: dict[str, Any] = {}
    """What is known of it; kept as it came, so that a status of another version does no harm."""


class VoiceModelSchema(Part):
    """One model, served over HTTP, that speaks or that hears: its files in a store, its server pods, their Service and
    autoscaler.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                "metadata.name must be at most 40 characters long, start with a letter, end with a letter or a digit,"
                " and hold only lower-case letters, digits and '-'",
            )
        )
    )

    spec: VoiceModelSpec
    """What is to be served, and how."""
    status: VoiceModelStatus | None = None
    """What is known of it; written by the operator only."""
