"""OpenAI's speech API, as its clients call it: unknown fields are ignored, our extensions are marked."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from voxraga_runtime.common.errors import InvalidRequest
from voxraga_runtime.server.requests import OPENAI_MODELS, Ask, VoiceId, voice_id
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
    model: str | None = Field(None, description="The served model, or tts-1, tts-1-hd, gpt-4o-mini-tts for it")
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


@router.get("/models", responses={**example("The model", {"object": "list", "data": [MODEL]}), **DOOR})
async def models(service: Service) -> dict[str, Any]:
    """The one model of this server, as OpenAI lists models."""
    return {"object": "list", "data": [_model(service.settings.model_name)]}


@router.get("/models/{model:path}", responses={**example("The model", MODEL), 404: NO_MODEL, **LISTED})
async def model(model: str, service: Service) -> dict[str, Any]:
    """One model; OpenAI's speech models are names of the one that is served."""
    _, catalogue = service.offer()
    return _model(model if model in OPENAI_MODELS else catalogue.require_model(model))


@router.get("/audio/models", responses={**example("The model", {"models": [{"id": "narrator"}]}), **DOOR})
async def audio_models(service: Service) -> dict[str, Any]:
    """What Open WebUI reads."""
    return {"models": [{"id": service.settings.model_name}]}


@router.get("/audio/voices", responses={**example("The voices", VOICES), **LISTED})
async def voices(service: Service) -> dict[str, Any]:
    """The model's voices, those of recordings beside it, and the aliases of the VoiceModel."""
    _, catalogue = service.offer()
    names = [*catalogue.voices, *(a for a in catalogue.aliases if a not in catalogue.voices)]
    return {"voices": [{**catalogue.describe(name), "id": name, "name": name} for name in names]}


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}
