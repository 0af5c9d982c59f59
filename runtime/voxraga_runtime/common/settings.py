"""The server's settings: VOXRAGA_* variables of the environment, as docs/contract.md lists them."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from voxraga_runtime.common.access import Network
from voxraga_runtime.common.errors import StartupError

PREFIX = "VOXRAGA_"
SLOWEST, FASTEST = 0.5, 2.0
GPU_BATCH = 16

Origin = Annotated[str, Field(pattern=r"^https?://[^\s/*?#@]+$")]  # as browsers send it: no path, no wildcard
Speed = Annotated[float, Field(ge=SLOWEST, le=FASTEST)]


class ServerSettings(BaseSettings):
    """What `voxraga-runtime serve` is told. Each field `x_y` is read from VOXRAGA_X_Y; times are seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", protected_namespaces=(), frozen=True)

    model_name: str = Field(min_length=1, description="metadata.name of the VoiceModel: the id under /v1/models")
    model_path: Path = Field(description="The model's folder in the store, /store/models/<key>")
    task: Literal["TextToSpeech", "SpeechToText"] = "TextToSpeech"
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "float16", "bfloat16"] = Field("float32", description="Of VITS's decoder")
    host: str = Field("", description="Address to listen on; every one, IPv6 included, if unset")
    port: int = Field(8080, ge=0, le=65535, description="0 takes a free one")
    wyoming_port: int | None = Field(None, ge=1, le=65535, description="Home Assistant's protocol; off if unset")
    max_concurrency: int | None = Field(None, ge=1, le=256, description="Workers; sized from the CPU limit if unset")
    max_batch: int | None = Field(None, ge=1, le=64, description="Requests decoded at once; by the device if unset")
    queue_depth: int = Field(200, ge=0, le=100_000, description="Requests that may wait")
    queue_timeout: float = Field(30, gt=0, le=3600, description="How long a request may wait")
    max_text_length: int = Field(5000, ge=1, le=1_000_000, description="Characters in one request")
    max_audio_bytes: int = Field(25 << 20, ge=1, le=1 << 30, description="Size of one recording to transcribe")
    max_audio_seconds: float = Field(1500, gt=0, le=36_000, description="Length of one recording to transcribe")
    cpu_threads: int = Field(1, ge=1, le=256, description="Threads inside one worker's operations")
    default_voice: str | None = None
    default_language: str | None = None
    default_speed: Speed = 1.0
    default_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    voice_aliases: dict[str, str] = Field(default_factory=dict, description="JSON: name a client uses → voice")
    lexicon: dict[str, str] = Field(default_factory=dict, description="JSON: word or phrase → respelling or /IPA/")
    response_cache_bytes: int = Field(0, ge=0, le=1 << 40, description="Audio of answers kept in memory; 0: none is")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    drain_timeout: float = Field(30, ge=0, le=3600, description="How long running requests may take after SIGTERM")
    api_keys_path: Path | None = Field(None, description="Folder of a mounted Secret: a key a line; no keys if unset")
    public_listings: bool = Field(True, description="Models and voices are listed without a key")
    rate_limit_per_minute: float | None = Field(None, gt=0, le=1e6, description="Requests of one key or address")
    rate_limit_burst: int = Field(20, ge=1, le=100_000, description="How many of them at once")
    allowed_cidrs: list[Network] = Field(default_factory=list, description="JSON: who may call; everybody if empty")
    trusted_proxies: list[Network] = Field(default_factory=list, description="JSON: whose X-Forwarded-For counts")
    cors_origins: list[Origin] = Field(default_factory=list, description="JSON: pages that may call, https://host")
    uploads_path: Path | None = Field(None, description="Writable folder of uploaded models; uploads are off if unset")
    uploads_max_bytes: int = Field(2 << 30, ge=1, le=1 << 40, description="Size of one upload")
    uploads_without_keys: bool = Field(False, description="Anybody may upload: only for a developer's own machine")
    models_max_loaded: int = Field(3, ge=1, le=1000, description="Models in memory at once, the own one included")
    models_memory_bytes: int | None = Field(
        None, ge=1, description="Memory of the loaded models; what 80 % of the container's limit leaves them if unset"
    )
    models_preload: list[str] = Field(default_factory=list, description="JSON: uploaded models to load at the start")
    models_idle_timeout: float = Field(0, ge=0, le=1e7, description="Unload what nobody used for so long; 0: never")
    termination_log: Path = Field(Path("/dev/termination-log"), description="Where a failed start says why")

    @property
    def batch(self) -> int:
        """Requests decoded at once. On a CPU the cores are busy with one each: batches only pay on a GPU."""
        return self.max_batch or (GPU_BATCH if self.device == "cuda" else 1)


def load_settings(**overrides: Any) -> ServerSettings:
    """Read the environment. Raises StartupError (SettingsInvalid) that names each wrong variable."""
    try:
        return ServerSettings(**overrides)
    except SettingsError as error:
        raise StartupError("SettingsInvalid", _not_json(error)) from None
    except ValidationError as error:
        problems = "; ".join(_problem(e) for e in error.errors())
        raise StartupError("SettingsInvalid", problems) from None


def _problem(error: Any) -> str:
    variable = PREFIX + "_".join(str(part) for part in error["loc"][:1]).upper()
    if error["type"] == "missing":
        return f"{variable} is not set"
    return f"{variable} is {error['input']!r}: {error['msg']}"


def _not_json(error: SettingsError) -> str:
    """pydantic-settings names the field in its message only: 'error parsing value for field "x" …'."""
    parts = str(error).split('"')
    name = PREFIX + parts[1].upper() if len(parts) > 1 else "a variable"
    return f"{name} is not valid JSON"
