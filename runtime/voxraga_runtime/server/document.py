"""The OpenAPI document: what FastAPI makes of the routes, corrected where our answers differ from its own."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

DESCRIPTION = """\
OpenAI's clients work unmodified: point their base URL at `/v1`. Every error has OpenAI's shape.

With keys, send `Authorization: Bearer <key>` or `X-API-Key: <key>`.

**`/v1/audio/speech/stream`** is a WebSocket, which OpenAPI can't describe: send `{"type": "session.start", "voice": …}`
(optional), `{"type": "input.text", "text": …}` as the text is written, `{"type": "input.flush"}` or
`{"type": "input.end"}`; `{"type": "input.cancel"}` stops. What comes back: `session.started` with format and rate,
`sentence.started`, `sentence.timestamps` if asked for, binary frames of audio, `sentence.done`, `flush.done`,
`session.done`, `error`, and `session.draining` before the server ends.
"""
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
OPEN = frozenset({"/", "/live", "/ready", "/health", "/metrics"})


def install(app: FastAPI) -> None:
    """Make `app.openapi()` (and /openapi.json) say what this server really does."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _made(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # as FastAPI's documentation has it


def _made(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=DESCRIPTION, routes=app.routes
    )
    for path, operations in made["paths"].items():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):  # ours is 400
                del operation["responses"]["422"]
            for answer in operation["responses"].values():
                _keep_nulls(answer)
            if path not in OPEN:
                operation["security"] = [{}, {"bearer": []}, {"key": []}]
    components = made.setdefault("components", {})
    components["securitySchemes"] = SCHEMES
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    return made


def _keep_nulls(answer: dict[str, Any]) -> None:
    """FastAPI leaves null out of examples; in errors it is a value."""
    shown = answer.get("content", {}).get("application/json", {}).get("example")
    if isinstance(shown, dict) and isinstance(shown.get("error"), dict):
        shown["error"] = {"param": None, **shown["error"]}
