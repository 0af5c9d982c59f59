"""The FastAPI application of the model server."""

from typing import Any

from fastapi import FastAPI

from voxraga_runtime.common.http import BodyLimit, CurlIsJson, Observed, install_error_handlers
from voxraga_runtime.common.version import VERSION
from voxraga_runtime.server.routes import health, native, openai
from voxraga_runtime.server.service import SpeechService, State

MINIMUM_BODY = 1 << 20
BYTES_PER_CHARACTER = 12  # JSON writes a character outside the BMP as two \uXXXX


def build_app(service: SpeechService, provenance: dict[str, Any] | None = None) -> FastAPI:
    """The routes over one service. `provenance` says where the model is from; /models shows it."""
    app = FastAPI(
        title="vox-raga model server",
        summary="Speech of one text-to-speech model, over OpenAI's API and a plain one.",
        version=VERSION,
        strict_content_type=False,  # curl and small clients send JSON without saying so; no cookies are at stake
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.provenance = provenance or {}
    install_error_handlers(app)
    for module in (openai, native, health):
        app.include_router(module.router)
    app.add_middleware(CurlIsJson)
    app.add_middleware(BodyLimit, limit=MINIMUM_BODY + BYTES_PER_CHARACTER * service.settings.max_text_length)
    app.add_middleware(Observed, metrics=service.metrics, draining=lambda: service.state is State.DRAINING)
    return app
