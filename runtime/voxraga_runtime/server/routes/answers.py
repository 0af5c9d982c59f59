"""What the OpenAPI document says of answers: audio in its formats, and every error in OpenAI's shape."""

from typing import Any

from pydantic import BaseModel

from voxraga_runtime.common.encoding import FORMATS
from voxraga_runtime.common.errors import error_body

Responses = dict[int | str, dict[str, Any]]


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Every answer that is none."""

    error: ErrorDetail


def _error(description: str, message: str, kind: str, param: str | None, code: str, *headers: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "model": ErrorBody,
        "description": description,
        "content": {"application/json": {"example": error_body(message, kind, param, code)}},
    }
    if headers:
        answer["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    return answer


_INVALID = "invalid_request_error"
DOOR: Responses = {
    401: _error(
        "No API key, or one that is not known (any more)",
        *("the API key is not valid (any more)", "authentication_error", None, "invalid_api_key"),
        "WWW-Authenticate",
    ),
    403: _error(
        "The client's address, or a page's origin, is not allowed",
        *("requests from 203.0.113.9 are not allowed", "permission_error", None, "address_not_allowed"),
    ),
}
NOT_READY = _error(
    "The model is being loaded, the server is shutting down, or no worker was free in time",
    *("no worker was free within 30 s", "service_unavailable", None, "queue_timeout"),
    "Retry-After",
)
NO_MODEL = _error(
    "This server has no such model",
    *("the model 'gpt-5' does not exist; this server has 'narrator'", _INVALID, "model", "model_not_found"),
)
LISTED: Responses = {**DOOR, 503: NOT_READY}
WORKED: Responses = {
    400: _error(
        "The request can't succeed, whenever it is sent again",
        *("speed is '9'; it must be a number from 0.5 to 2.0", _INVALID, "speed", "invalid_value"),
    ),
    **DOOR,
    404: NO_MODEL,
    413: _error(
        "The body is too large",
        *("the request body is too large; at most 1108576 bytes are read", _INVALID, None, "request_too_large"),
    ),
    429: _error(
        "The queue is full, or this client asks too often",
        *("the queue is full: 200 requests wait and 4 run", "rate_limit_error", None, "queue_full"),
        *("Retry-After", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ),
    500: _error(
        "The model failed on a text that was valid",
        *("the model failed on this text; the server's log has the request id", "server_error", None),
        "synthesis_failed",
    ),
    503: NOT_READY,
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
AUDIO: dict[str, Any] = {
    "description": "Speech, in the format that was asked for; streamed where more than one sentence is to come",
    "content": {form.content_type: _BINARY for form in FORMATS.values()},
    "headers": {
        "X-Sample-Rate": {"schema": {"type": "integer"}, "description": "Hz"},
        "X-Cache": {
            "schema": {"type": "string", "enum": ["hit", "miss"]},
            "description": "Whether the answer was there already; only where answers are kept",
        },
        "X-Request-ID": {"schema": {"type": "string"}},
    },
}
EVENTS = {
    "text/event-stream": {
        "schema": {"type": "string"},
        "example": 'data: {"type": "speech.audio.timestamps", "words": [{"word": "Hello", "start": 0, "end": 0.3}]}\n\n'
        'data: {"type": "speech.audio.delta", "audio": "SUQzBAA…"}\n\n'
        'data: {"type": "speech.audio.done", "usage": {"input_tokens": 23, "output_tokens": 18432, '
        '"total_tokens": 18455}}\n\n',
    }
}


def example(description: str, content: Any) -> Responses:
    """A 200 of JSON."""
    return {200: {"description": description, "content": {"application/json": {"example": content}}}}
