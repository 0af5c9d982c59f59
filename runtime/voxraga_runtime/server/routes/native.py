"""The server's own routes to speech: /synthesize, with one model or several."""

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from voxraga_runtime.common.errors import ClientGone, InvalidRequest, Overloaded, Unavailable, VoxragaError
from voxraga_runtime.server.relay import timed
from voxraga_runtime.server.render import Speech
from voxraga_runtime.server.requests import Ask
from voxraga_runtime.server.routes.access import Service, leaving
from voxraga_runtime.server.routes.answers import AUDIO, WORKED, Responses, example

if TYPE_CHECKING:
    from voxraga_runtime.server.engines.base import Word

router = APIRouter(tags=["native"])

SPOKEN = {"audio_base64": "SUQzBAA…", "format": "mp3", "content_type": "audio/mpeg", "sample_rate": 24000}
MISSING = {"message": "the model 'other' does not exist; this server has 'narrator'", "type": "invalid_request_error"}
COMPARED = {
    "results": {
        "narrator": {**SPOKEN, "latency_seconds": 0.41},
        "other": {"error": {**MISSING, "param": "model", "code": "model_not_found"}},
    }
}


class SynthesizeBody(BaseModel):
    """POST /synthesize."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": "Hello from the cluster.", "format": "wav"}})

    text: str = Field(description="The text to speak")
    model: str | None = Field(None, description="The served model's name")
    voice: str | None = Field(None, description="A voice of the model or an alias")
    language: str | None = None
    format: str | None = Field(None, description="mp3, opus, aac, flac, wav or pcm")
    speed: float | None = Field(None, description="0.5 to 2.0")
    sample_rate: int | None = Field(None, description="Hz of the answer")
    stream: bool | None = Field(None, description="Send each sentence when it is ready, or all at once")
    seed: int | None = Field(None, ge=0, lt=2**62, description="Equal seeds give equal samples")
    lexicon: dict[str, str] | None = Field(None, description="Word → respelling or /IPA/, over the server's")
    timestamp_granularities: list[str] | None = Field(
        None, description='["word"]: the answer is JSON with the audio and the words\' times, all at once'
    )


TIMED = {**SPOKEN, "words": [{"word": "Hello", "start": 0.05, "end": 0.31}]}
SAID: Responses = {
    200: {**AUDIO, "content": {**AUDIO["content"], "application/json": {"example": TIMED}}},
    **WORKED,
}


@router.post("/synthesize", response_class=Response, responses=SAID)
async def synthesize(body: SynthesizeBody, request: Request, service: Service) -> Response:
    """Speak a text."""
    ask = Ask(
        text=body.text,
        text_field="text",
        model=body.model,
        voice=body.voice,
        language=body.language,
        format=body.format,
        format_field="format",
        speed=body.speed,
        sample_rate=body.sample_rate,
        stream=False if body.timestamp_granularities else body.stream,
        seed=body.seed,
        lexicon=body.lexicon,
        timestamp_granularities=body.timestamp_granularities,
    )
    if not body.timestamp_granularities:
        return await service.speak(request, ask)
    words: list[Word] = []
    async with leaving(request) as gone:
        speech, parts = await service.hear(request, ask, gone, words=words)
        audio = b"".join([part async for part in parts])
    return JSONResponse({**_answered(speech, audio), "words": timed(words)})


class CompareBody(BaseModel):
    """POST /synthesize/compare."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": "Which do you like?", "models": ["tts-1"]}})

    text: str = Field(description="The text to speak")
    models: list[str] = Field(min_length=1, max_length=16, description="Names of models, each once")
    voice: str | None = Field(None, description="A voice that all of them have")
    language: str | None = None
    format: str | None = Field(None, description="mp3, opus, aac, flac, wav or pcm")
    speed: float | None = Field(None, description="0.5 to 2.0")
    sample_rate: int | None = Field(None, description="Hz of the answers")
    seed: int | None = Field(None, ge=0, lt=2**62, description="Equal seeds give equal samples")


@router.post(
    "/synthesize/compare", responses={**example("Each model's audio and seconds, or its error", COMPARED), **WORKED}
)
async def compare(body: CompareBody, request: Request, service: Service) -> dict[str, Any]:
    """Speak a text with several models, one after another so that the latencies compare; an error for each that can't.

    What is wrong with the text is wrong for all of them, and the answer is an error as a whole.
    """
    options = body.model_dump(exclude={"text", "models"})
    results: dict[str, Any] = {}
    refused: VoxragaError | None = None
    async with leaving(request) as gone:
        for model in dict.fromkeys(body.models):
            ask = Ask(body.text, "text", model=model, stream=False, format_field="format", anew=True, **options)
            try:
                results[model] = await _timed(service, request, ask, gone)
            except (InvalidRequest, ClientGone):
                raise
            except VoxragaError as error:
                results[model] = error.body()
                refused = error if isinstance(error, Overloaded | Unavailable) else refused
    if refused and not any("audio_base64" in result for result in results.values()):
        raise refused  # nothing but "later": said by the status, so that clients come again
    return {"results": results}


async def _timed(service: Service, request: Request, ask: Ask, gone: asyncio.Event) -> dict[str, Any]:
    began = request.scope["state"]["started"] = time.perf_counter()
    speech, parts = await service.hear(request, ask, gone)
    audio = b"".join([part async for part in parts])
    return {**_answered(speech, audio), "latency_seconds": round(time.perf_counter() - began, 4)}


def _answered(speech: Speech, audio: bytes) -> dict[str, Any]:
    return {
        "audio_base64": base64.b64encode(audio).decode(),
        "format": speech.format.name,
        "content_type": speech.format.content_type,
        "sample_rate": speech.rate,
    }
