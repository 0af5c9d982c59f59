"""OpenAI's transcriptions, and the same under /stt: a recording in, text out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.datastructures import FormData, UploadFile

from voxraga_runtime.common.errors import InvalidRequest, NotFound, Unavailable, VoxragaError
from voxraga_runtime.server.recording import RATE, decode
from voxraga_runtime.server.routes.access import Service, leaving
from voxraga_runtime.server.routes.answers import WORKED, Responses
from voxraga_runtime.server.service import SpeechService, State
from voxraga_runtime.server.transcription import Listen, Transcription
from voxraga_runtime.server.transcripts import FORMATS, Transcript, delta, failed, line

if TYPE_CHECKING:
    from voxraga_runtime.server.engines.transcribe import Segment

router = APIRouter(tags=["OpenAI"])

PATHS = ("/v1/audio/transcriptions", "/stt")
OPENAI_MODELS = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
GRANULARITIES = ("segment", "word")
MOST_SEEDS = 2**62
LONGEST_FIELD = 16 << 10  # bytes; a prompt
HOTTEST = 1.0
DECODERS = 2  # recordings decoded at once: each holds its samples

TEXT: dict[str, Any] = {"schema": {"type": "string"}}
ANSWERS: Responses = {
    200: {
        "description": "What was said, as it was asked for",
        "content": {
            "application/json": {
                "example": {"text": "Hello from the cluster.", "usage": {"type": "duration", "seconds": 1.4}}
            },
            "text/plain": {**TEXT, "example": "Hello from the cluster."},
            "application/x-subrip": {
                **TEXT,
                "example": "1\n00:00:00,000 --> 00:00:01,400\nHello from the cluster.\n\n",
            },
            "text/vtt": {**TEXT, "example": "WEBVTT\n\n00:00:00.000 --> 00:00:01.400\nHello from the cluster.\n\n"},
            "text/event-stream": {
                **TEXT,
                "example": 'data: {"type": "transcript.text.delta", "delta": "Hello from the cluster."}\n\n'
                'data: {"type": "transcript.text.done", "text": "Hello from the cluster."}\n\n',
            },
        },
    },
    **WORKED,
}
PROPERTIES = {
    "file": {"type": "string", "format": "binary", "description": "wav, mp3, ogg, flac, m4a, mp4, webm, …"},
    "model": {"type": "string", "description": f"The served model, or {', '.join(OPENAI_MODELS)} for it"},
    "language": {"type": "string", "description": "What is spoken, such as en"},
    "prompt": {"type": "string", "description": "Text that went before, or names to expect"},
    "response_format": {"type": "string", "enum": list(FORMATS)},
    "temperature": {"type": "number", "minimum": 0, "maximum": HOTTEST},
    "seed": {"type": "integer", "minimum": 0, "description": "Extension: with a temperature, equal seeds hear alike"},
    "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": list(GRANULARITIES)}},
    "stream": {"type": "boolean", "description": "Events instead of one answer (json and text)"},
}
FORM = {"schema": {"type": "object", "required": ["file"], "properties": PROPERTIES}}
BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": FORM}}}


@router.post("/stt", response_class=Response, responses=ANSWERS, openapi_extra=BODY)
@router.post("/v1/audio/transcriptions", response_class=Response, responses=ANSWERS, openapi_extra=BODY)
async def transcriptions(request: Request, service: Service) -> Response:
    """Write down what a recording says."""
    _require_hearing(service)
    async with request.form(max_files=1, max_fields=20, max_part_size=LONGEST_FIELD) as form:
        asked = _Asked(form)
        _require_model(asked.model, service)
        async with request.app.state.decoders:
            audio = await asyncio.to_thread(decode, asked.file.file, service.settings.max_audio_seconds)
    listen = Listen(
        asked.language,
        asked.prompt,
        asked.temperature,
        asked.seed,
        timestamps=asked.format not in {"json", "text"},
        words="word" in asked.granularities,
    )
    service.metrics.heard_seconds.inc(len(audio) / RATE)
    async with contextlib.AsyncExitStack() as stack:
        gone = await stack.enter_async_context(leaving(request))
        begun = await service.transcribe(audio, listen, gone)
        if asked.stream and asked.format in {"json", "text"}:
            events = _events(begun, stack.pop_all())
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        segments = [segment async for segment in begun.segments()]
    return _written(Transcript(segments, begun.heard.duration, begun.heard.language), asked)


async def _events(begun: Transcription, stack: contextlib.AsyncExitStack) -> AsyncIterator[str]:
    """Each segment as it is found, and the whole; `stack` watches the client meanwhile."""
    found: list[Segment] = []
    async with stack:
        try:
            async for segment in begun.segments():
                if text := line(segment.text):
                    yield delta(text, first=not found)
                    found.append(segment)
        except VoxragaError as error:  # the status was sent long ago
            yield failed(error.body())
            return
        yield Transcript(found, begun.heard.duration, begun.heard.language).done()


def _require_hearing(service: SpeechService) -> None:
    """Before a recording is taken in that nobody will hear."""
    if service.settings.task != "SpeechToText":
        message = f"{service.settings.model_name!r} is a text-to-speech model: it can't transcribe"
        raise InvalidRequest(message, param="model", code="model_not_supported")
    if service.state is not State.READY:
        raise Unavailable(f"the server is {service.state}; send the request again", code=service.state, retry_after=5)


def _require_model(name: str | None, service: SpeechService) -> None:
    if name and name not in {service.settings.model_name, *OPENAI_MODELS}:
        message = f"the model {name[:80]!r} does not exist; this server has {service.settings.model_name!r}"
        raise NotFound(message, param="model", code="model_not_found")


class _Asked:
    """The form's fields, checked."""

    def __init__(self, form: FormData) -> None:
        self.model = _text(form, "model") or None
        self.file = _file(form)
        self.language = _text(form, "language") or None
        self.prompt = _text(form, "prompt")
        self.format = _one_of("response_format", _text(form, "response_format") or "json", FORMATS)
        self.temperature = _temperature(_text(form, "temperature"))
        self.seed = _seed(_text(form, "seed"))
        streamed = _one_of("stream", (_text(form, "stream") or "false").lower(), ("true", "false", "1", "0"))
        self.stream = streamed in {"true", "1"}
        named = [*form.getlist("timestamp_granularities[]"), *form.getlist("timestamp_granularities")]
        self.granularities = [_one_of("timestamp_granularities", str(name), GRANULARITIES) for name in named] or [
            "segment"
        ]
        if "word" in self.granularities and self.format != "verbose_json":
            message = f"timestamp_granularities word needs response_format verbose_json; it is {self.format}"
            raise InvalidRequest(message, param="timestamp_granularities")


def _file(form: FormData) -> UploadFile:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise InvalidRequest("file is required: a recording, as a file of a multipart/form-data body", param="file")
    return file


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, not a file", param=name)
    return value


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InvalidRequest(f"{name} is {value[:80]!r}; it must be one of {', '.join(allowed)}", param=name)
    return value


def _temperature(text: str) -> float:
    try:
        value = float(text or 0)
    except ValueError:
        value = -1
    if not 0 <= value <= HOTTEST:  # also false of NaN
        raise InvalidRequest(f"temperature is {text[:80]!r}; it must be from 0 to {HOTTEST:g}", param="temperature")
    return value


def _seed(text: str) -> int:
    if text and not (text.isdecimal() and len(text) < 20 and int(text) < MOST_SEEDS):  # noqa: PLR2004 - its digits
        raise InvalidRequest(f"seed is {text[:80]!r}; it must be a whole number from 0 to 2^62 - 1", param="seed")
    return int(text or 0)


def _written(transcript: Transcript, asked: _Asked) -> Response:
    form = asked.format
    if form == "text":
        return PlainTextResponse(transcript.text + "\n")
    if form == "srt":
        return PlainTextResponse(transcript.srt(), media_type="application/x-subrip")
    if form == "vtt":
        return PlainTextResponse(transcript.vtt(), media_type="text/vtt")
    return JSONResponse(transcript.verbose(asked.granularities) if form == "verbose_json" else transcript.json())
