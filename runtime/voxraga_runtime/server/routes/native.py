"""The server's own routes: /synthesize and /models."""

import dataclasses
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from voxraga_runtime.server.requests import Ask
from voxraga_runtime.server.routes.access import Service

router = APIRouter(tags=["native"])


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


@router.post("/synthesize", response_class=Response, responses={200: {"content": {"audio/wav": {}}}})
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
        stream=body.stream,
        seed=body.seed,
    )
    return await service.speak(request, ask)


@router.get("/models")
async def models(request: Request, service: Service) -> dict[str, Any]:
    """The served model in full."""
    engine, catalogue = service.offer()
    described = {
        "name": catalogue.model,
        "architecture": engine.architecture,
        "sample_rate": engine.sample_rate,
        "languages": list(catalogue.languages),
        "voices": list(catalogue.voices),
        "default_voice": catalogue.default_voice,
        "capabilities": dataclasses.asdict(engine.capabilities),
        "device": service.settings.device,
        **request.app.state.provenance,
    }
    return {"models": [described]}
