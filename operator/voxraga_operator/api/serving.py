"""How a model is served: the server's limits and defaults, its resources, its address, and how changes roll out."""

# ruff: noqa: RUF012 - pydantic copies a default for every object

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from voxraga_operator.api.common import (
    Annotations,
    GoDuration,
    ImageReference,
    Part,
    Quantities,
    Quantity,
    between,
    quantity_between,
    rule,
    rules,
    set_list,
)

Voice = Annotated[str, Field(min_length=1, max_length=128)]
ModelName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Pronunciation = Annotated[str, Field(min_length=1, max_length=128)]


class ServingDefaults(Part):
    """What a request gets where it does not say."""

    voice: Voice | None = None
    """Voice, such as "p225"; the model's first one where none is given."""
    language: (
        Annotated[str, Field(min_length=2, max_length=35, pattern=r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")] | None
    ) = None
    """Language, such as "en"; the model's own where none is given."""
    speed: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0
    """Speed of speech: 0.5 is half as fast, 2 twice as fast."""
    format: Literal["wav", "pcm", "flac", "mp3", "opus", "aac"] = "mp3"
    """Audio format."""


class Batching(Part):
    """How many requests a model computes together, where it can: VITS, as far as its audio is decoded in slices."""

    max_batch: Annotated[int, Field(ge=1, le=64)] | None = None
    """Requests computed at once; 1 on CPU and 16 on GPU where it is not given."""


class Wyoming(Part):
    """Home Assistant's protocol, on a port of its own. It knows no keys: access.allowedCIDRs is what guards it."""

    enabled: bool = False
    """Whether it is spoken."""
    port: Annotated[int, Field(ge=1024, le=65535)] = 10300
    """Port of the pods and of the Service; 8080 is the server's own."""


class Models(Part):
    """The models that a server has loaded: its own and, with serving.uploads, those that users brought."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.preload) || size(self.preload) < (has(self.maxLoaded) ? self.maxLoaded : 3)",
                "preload must name fewer models than maxLoaded (3 where it is not given), which counts the own one too",
            )
        )
    )

    max_loaded: Annotated[int, Field(ge=1, le=64)] | None = None
    """Models that are loaded at the same time, the own one included; 3 where it is not given. The one that was unused
    for longest makes room.
    """
    memory: Annotated[Quantity, quantity_between("64Mi", "1Ti")] | None = None
    """Memory that all of them may take together, such as "6Gi"."""
    preload: Annotated[tuple[ModelName, ...], Field(max_length=64, json_schema_extra=set_list())] = ()
    """Uploaded models that are loaded when the server starts."""
    idle_timeout: Annotated[GoDuration, Field(json_schema_extra=between("1s", "168h"))] | None = None
    """For how long a model may go unused until it is unloaded."""


class Uploads(Part):
    """Models that users bring, by POST /models/upload; kept in the store's folder `uploads`, which no fetch touches."""

    enabled: bool = False
    """Whether models may be uploaded; needs access.apiKeys."""
    max_bytes: Annotated[Quantity, quantity_between("1Mi", "64Gi")] | None = None
    """Size of one upload at most, such as "4Gi"."""


class ResponseCache(Part):
    """Answers that a pod keeps in memory, for requests that are equal in all that decides their audio."""

    max_bytes: Annotated[Quantity, quantity_between("1Mi", "64Gi")] | None = None
    """Encoded audio that is kept at most, such as "256Mi"; resources.limits.memory must have room for it. None is kept
    where it is not given.
    """


class Serving(Part):
    """Limits and defaults of the server."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.models) || !has(self.models.preload) || size(self.models.preload) == 0"
                " || self.uploads.enabled",
                "models.preload names uploaded models: set uploads.enabled",
            )
        )
    )

    max_concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    """Syntheses that one pod runs at the same time; sized from the CPU limit where it is not given."""
    queue_depth: Annotated[int, Field(ge=0, le=10000)] = 200
    """Requests that may wait in one pod; one more is refused at once with 429 and Retry-After."""
    queue_timeout: Annotated[GoDuration, Field(json_schema_extra=between("100ms", "10m"))] = "30s"
    """How long a request may wait in the queue before it is refused with 503."""
    max_text_length: Annotated[int, Field(ge=1, le=100000)] = 5000
    """Longest text of a request, in characters."""
    cpu_threads: Annotated[int, Field(ge=1, le=128)] = 1
    """Threads that one synthesis computes with. More make a single one faster, and many at once slower."""
    defaults: ServingDefaults = ServingDefaults()
    """What a request gets where it does not say."""
    voice_aliases: Annotated[dict[str, Voice], Field(max_length=256)] = {}
    """Other names for voices, such as {"alloy": "p225"}, so that clients of other services need no change."""
    lexicon: Annotated[
        dict[str, Pronunciation],
        Field(
            max_length=256,
            json_schema_extra=rules(
                rule("self.all(word, size(word) > 0 && size(word) <= 64)", "words must be 1 to 64 characters long")
            ),
        ),
    ] = {}
    """How words are spoken, such as {"Kubernetes": "koo-ber-net-eez"}: another spelling, or IPA between slashes."""
    max_audio_bytes: Annotated[Quantity, quantity_between("1Ki", "1Gi")] | None = None
    """Size of a recording to transcribe at most; 25Mi where it is not given."""
    max_audio_duration: Annotated[GoDuration, Field(json_schema_extra=between("1s", "10h"))] | None = None
    """Length of a recording to transcribe at most; 25m where it is not given."""
    batching: Batching = Batching()
    """How many requests a model computes together."""
    wyoming: Wyoming = Wyoming()
    """Home Assistant's protocol."""
    models: Models = Models()
    """The models that a server has loaded."""
    uploads: Uploads = Uploads()
    """Models that users bring."""
    response_cache: ResponseCache = ResponseCache()
    """Answers that are kept in memory."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the server logs. The text of requests is never logged."""
    drain_timeout: Annotated[GoDuration, Field(json_schema_extra=between("1s", "1h"))] = "30s"
    """How long a pod that is asked to stop may take to finish what it has accepted."""


def _not_above(resource: str, default: str) -> dict[str, str]:
    def has(group: str) -> str:
        return f"has(self.{group}) && '{resource}' in self.{group}"

    def value(group: str) -> str:
        return f"quantity(string(self.{group}['{resource}']))"

    return rule(
        f"!({has('limits')} && {has('requests')}) || {value('requests')}.compareTo({value('limits')}) <= 0",
        f"requests.{resource} must not be above limits.{resource};"
        f" where no requests are set, requests.{resource} is {default}",
    )


class Resources(Part):
    """What one server pod asks for and may use, as in any pod."""

    model_config = ConfigDict(json_schema_extra=rules(_not_above("cpu", "500m"), _not_above("memory", "1536Mi")))

    requests: Quantities = {"cpu": "500m", "memory": "1536Mi"}
    """What the scheduler sets aside for a pod; sets the CPU time that autoscaling measures against."""
    limits: Quantities = {"memory": "4Gi"}
    """What a pod may use at most. Without a CPU limit the server uses the CPUs of its node that are idle."""


class Service(Part):
    """The Service under which the model is reached."""

    type: Literal["ClusterIP", "LoadBalancer", "NodePort"] = "ClusterIP"
    """ClusterIP: within the cluster. LoadBalancer and NodePort: from outside too."""
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    """Port of the Service."""
    annotations: Annotations = {}
    """Annotations of the Service, as load balancers want them."""


class Rollout(Part):
    """How a change reaches the server pods."""

    strategy: Literal["Surge", "Replace"] = "Surge"
    """Surge starts a new pod before it stops an old one: no request is lost, and room for one more pod is needed.
    Replace stops an old one first: for GPUs of which none is to spare.
    """


class Image(Part):
    """Images of the runtime, where the operator's own defaults will not do."""

    cpu: ImageReference | None = None
    """Image of the server on CPU, and of the fetch Job."""
    gpu: ImageReference | None = None
    """Image of the server on GPU, and of the fetch Job."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled; as the operator is set up where it is not given."""
