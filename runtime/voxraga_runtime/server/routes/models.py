"""The models of this server: listed in full, brought by users, removed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from voxraga_runtime.common.errors import VoxragaError, error_body
from voxraga_runtime.common.guard import UPLOAD
from voxraga_runtime.common.http import DISCARD
from voxraga_runtime.server.models import listing
from voxraga_runtime.server.routes.access import Service
from voxraga_runtime.server.routes.answers import LISTED, NO_MODEL, WORKED, ErrorBody, Responses, example

if TYPE_CHECKING:
    from voxraga_runtime.server.models.uploading import Uploading

router = APIRouter(tags=["native"])

DESCRIBED = {
    "name": "narrator",
    "type": "TextToSpeech",
    "origin": "fetched",
    "architecture": "vits",
    "sample_rate": 22050,
    "languages": ["en"],
    "dataset": "vctk",
    "voices": ["p225", "p226"],
    "device": "cpu",
    "bytes": 152387584,
    "loaded": True,
    "last_used": "2026-03-01T12:00:00+00:00",
    "default_voice": "p225",
    "capabilities": {"speed": True, "reentrant": True, "streaming": "slice"},
    "memory_bytes": 145326080,
}
UPLOADED = {**DESCRIBED, "name": "my-voice", "origin": "uploaded", "loaded": False, "last_used": None}


def _error(description: str, message: str, kind: str, param: str | None, code: str) -> dict[str, Any]:
    content = {"application/json": {"example": error_body(message, kind, param, code)}}
    return {"model": ErrorBody, "description": description, "content": content}


PATIENCE = 30  # seconds, with a client that still sends what was refused
_INVALID = "invalid_request_error"
REFUSALS: Responses = {
    **{status: WORKED[status] for status in (400, 401, 413, 429, 503)},
    403: _error(
        "Uploads are off, or the client's address or page is not allowed",
        *("this server takes no uploads: set VOXRAGA_UPLOADS_PATH to a writable folder", "permission_error", None),
        "uploads_disabled",
    ),
}
UPLOAD_REFUSALS: Responses = {
    **REFUSALS,
    409: _error(
        "There is a model of that name",
        *("model_name: there is a model 'my-voice' already; send replace=true …", _INVALID, "model_name"),
        "already_exists",
    ),
    415: _error(
        "The body is no multipart/form-data",
        *("an upload is multipart/form-data: curl -F model_name=… …", _INVALID, None, "unsupported_media_type"),
    ),
    422: _error(
        "The model is unsafe, broken, of a kind that isn't served, or did not speak",
        *("model.pth would import 'posix.system' when loaded; save the weights alone (a state dict)", _INVALID, None),
        "unsafe_model",
    ),
    507: _error(
        "The volume is full",
        *("/uploads: 1.2 GiB more are needed, 310.4 MiB of 10.0 GiB are free", "server_error", None, "storage_full"),
    ),
}
FILE = {"type": "string", "format": "binary"}
FIELDS = {
    "model_name": {"type": "string", "description": "The name to speak with: letters, digits, dots, dashes"},
    "model_file": {**FILE, "description": "The weights (.pth), a state dict as coqui-tts saves it"},
    "config_file": {**FILE, "description": "The model's config.json"},
    "speakers_file": {**FILE, "description": "The file that config.json names for its speakers"},
    "vocoder_file": {**FILE, "description": "A vocoder's weights"},
    "vocoder_config_file": {**FILE, "description": "The vocoder's config.json"},
    "files": {"type": "array", "items": FILE, "description": "Whatever else config.json names, by its own name"},
    "archive": {**FILE, "description": "A zip or tar of all of these, instead"},
    "replace": {"type": "boolean", "description": "Put it in the place of the model that has this name"},
    "accepted_licenses": {"type": "string", "description": "Such as CPML, which XTTS demands; several with commas"},
}
FORM = {"schema": {"type": "object", "required": ["model_name"], "properties": FIELDS}}
BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": FORM}}}
CREATED: Responses = {201: {"description": "The model", "content": {"application/json": {"example": UPLOADED}}}}


@router.get("/models", responses={**example("The models", {"models": [DESCRIBED]}), **LISTED})
async def models(service: Service) -> dict[str, Any]:
    """The server's own model first, then the uploaded ones, loaded or not."""
    return {"models": await listing.described(service)}


@router.post(
    UPLOAD, status_code=201, response_class=JSONResponse, responses={**CREATED, **UPLOAD_REFUSALS}, openapi_extra=BODY
)
async def upload(request: Request, service: Service) -> dict[str, Any]:
    """Bring a model: checked, loaded and heard in a process that can reach nothing, then served by its name."""
    service.require_ready()
    announced = request.headers.get("content-length", "0")
    size = int(announced) if announced.isdigit() else 0
    uploading: Uploading = request.app.state.uploading
    body = request.stream()
    try:
        stored, found = await uploading.upload(body, request.headers.get("content-type", ""), size)
    except VoxragaError:
        await _discard(body)
        raise
    return {**listing.describe(service, stored), "spoken_test": found}


async def _discard(body: AsyncIterator[bytes]) -> None:
    """The rest of a refused body, within reason: a connection closed on unread data is reset, and the answer lost."""
    read = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            async for piece in body:
                read += len(piece)
                if read > DISCARD:
                    return


@router.delete("/models/{model}", status_code=204, response_class=Response, responses={**REFUSALS, 404: NO_MODEL})
async def delete(model: str, request: Request) -> None:
    """Remove an uploaded model, for every server that shares the folder. Requests under way are finished."""
    uploading: Uploading = request.app.state.uploading
    await uploading.delete(model)
