"""OpenAI's speech API, as its clients call it: unknown fields are ignored, our extensions are marked."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from voxraga_runtime.common.errors import InvalidRequest
from voxraga_runtime.server.models import listing
from voxraga_runtime.server.models.stored import Stored
from voxraga_runtime.server.requests import Ask, VoiceId, voice_id
from voxraga_runtime.server.routes import transcriptions
from voxraga_runtime.server.routes.access import Service
from voxraga_runtime.server.routes.answers import AUDIO, DOOR, EVENTS, LISTED, NO_MODEL, WORKED, Responses, example

router = APIRouter(prefix="/v1", tags=["OpenAI"])

OWNER = "voxraga"
MODEL = {"id": "narrator", "object": "model", "created": 0, "owned_by": OWNER}
VOICES = {"voices": [{"id": "p225", "name": "p225", "language": None, "origin": "model", "license": ""}]}
SPOKEN: Responses = {200: {**AUDIO, "content": {**AUDIO["content"], **EVENTS}}, **WORKED}


class SpeechBody(BaseModel):
    """POST /v1/audio/speech."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"model": "tts-1", "input": "Hello from the cluster.", "voice": "alloy"}}
    )

    input: str = Field(description="The text to speak")
    model: str | None = Field(None, description="A model of this server; tts-1, tts-1-hd, gpt-4o-mini-tts: its own")
    voice: str | VoiceId | None = Field(None, description="A voice of the model, an alias or an OpenAI voice")
    response_format: str | None = Field(None, description="mp3, opus, aac, flac, wav or pcm (24 kHz, s16le, mono)")
    speed: float | None = Field(None, description="0.5 to 2.0")
    stream_format: str | None = Field(None, description="audio or sse")
    instructions: Any = Field(None, description="Accepted, without effect: the models take none")
    sample_rate: int | None = Field(None, description="Extension: Hz of the answer")
    language: str | None = Field(None, description="Extension: for models of several languages")
    stream: bool | None = Field(None, description="Extension: send each sentence when it is ready, or all at once")
    seed: int | None = Field(None, ge=0, lt=2**62, description="Extension: equal seeds give equal samples")
    lexicon: dict[str, str] | None = Field(None, description="Extension: word → respelling or /IPA/, over the server's")
    timestamp_granularities: list[str] | None = Field(None, description='Extension, with stream_format sse: ["word"]')


@router.post("/audio/speech", response_class=Response, responses=SPOKEN)
async def speech(body: SpeechBody, request: Request, service: Service) -> Response:
    """Speak a text."""
    if body.timestamp_granularities and body.stream_format != "sse":
        message = "timestamp_granularities needs stream_format: sse (or POST /synthesize, which answers with JSON)"
        raise InvalidRequest(message, param="timestamp_granularities")
    ask = Ask(
        text=body.input,
        text_field="input",
        model=body.model,
        voice=voice_id(body.voice),
        language=body.language,
        format=body.response_format,
        speed=body.speed,
        sample_rate=body.sample_rate,
        # who names a stream format means to stream; a wav then can't tell its length
        stream=True if body.stream is None and body.stream_format else body.stream,
        stream_format=body.stream_format,
        seed=body.seed,
        lexicon=body.lexicon,
        timestamp_granularities=body.timestamp_granularities,
    )
    return await service.speak(request, ask)


@router.get("/models", responses={**example("The models", {"object": "list", "data": [MODEL]}), **DOOR})
async def models(service: Service) -> dict[str, Any]:
    """The models of this server, its own first, as OpenAI lists models."""
    return {"object": "list", "data": [_model(one.name, one) for one in await listing.stored(service)]}


@router.get("/models/{model:path}", responses={**example("The model", MODEL), 404: NO_MODEL, **LISTED})
async def model(model: str, service: Service) -> dict[str, Any]:
    """One model; OpenAI's speech models (or Whisper's) are names of the server's own."""
    service.require_ready()
    whisper = service.settings.task == "SpeechToText" and model in transcriptions.OPENAI_MODELS
    if whisper or service.models.means_own(model):
        return _model(model, service.stored)
    return _model(model, await service.models.find(model))


@router.get("/audio/models", responses={**example("The models", {"models": [{"id": "narrator"}]}), **DOOR})
async def audio_models(service: Service) -> dict[str, Any]:
    """What Open WebUI reads."""
    return {"models": [{"id": one.name} for one in await listing.stored(service)]}


@router.get("/audio/voices", responses={**example("The voices", VOICES), **LISTED})
async def voices(service: Service) -> dict[str, Any]:
    """The own model's voices and the aliases of the VoiceModel; those of other models as `model/voice`."""
    return {"voices": await listing.voices(service)}


def _model(name: str, stored: Stored) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": stored.created // 10**9, "owned_by": OWNER}
