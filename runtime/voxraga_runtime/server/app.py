"""The FastAPI application of the model server."""

import asyncio

from fastapi import FastAPI

from voxraga_runtime.common.access import KeyRing, Limiter
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.common.guard import UPLOAD, Guard, Rules, SecurityHeaders, cors
from voxraga_runtime.common.http import BodyLimit, CurlIsJson, Observed, install_error_handlers
from voxraga_runtime.common.settings import ServerSettings
from voxraga_runtime.common.version import VERSION
from voxraga_runtime.server import document
from voxraga_runtime.server.models.uploading import Uploading
from voxraga_runtime.server.routes import health, models, native, openai, page, stream, transcriptions
from voxraga_runtime.server.service import SpeechService, State

MINIMUM_BODY = 1 << 20
BYTES_PER_CHARACTER = 12  # JSON writes a character outside the BMP as two \uXXXX


def build_app(service: SpeechService) -> FastAPI:
    """The routes over one service.

    Raises StartupError (SettingsInvalid) where the API keys can't be read.
    """
    app = FastAPI(
        title="vox-raga model server",
        summary="Speech of text-to-speech models, over OpenAI's API and a plain one.",
        version=VERSION,
        strict_content_type=False,  # curl and small clients send JSON without saying so; no cookies are at stake
        redirect_slashes=False,
        docs_url=None,  # Swagger's page would load its scripts from the internet
        redoc_url=None,
    )
    app.state.service = service
    app.state.uploading = Uploading(service.settings, service.models)
    app.state.decoders = asyncio.Semaphore(transcriptions.DECODERS)
    install_error_handlers(app)
    document.install(app)
    known = set()
    for module in (openai, stream, transcriptions, native, models, health, page):
        app.include_router(module.router)
        known |= {str(getattr(route, "path", "")) for route in module.router.routes}
    app.add_middleware(CurlIsJson)
    text_limit = largest_text(service.settings)
    file_limit = MINIMUM_BODY + service.settings.max_audio_bytes
    larger = dict.fromkeys(transcriptions.PATHS, file_limit)
    larger[UPLOAD] = MINIMUM_BODY + service.settings.uploads_max_bytes
    app.add_middleware(BodyLimit, limit=text_limit, larger=larger)
    app.add_middleware(Guard, rules=_rules(service.settings, known))
    if service.settings.cors_origins:
        app.add_middleware(cors, origins=service.settings.cors_origins)  # preflights bring no key
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Observed, metrics=service.metrics, draining=lambda: service.state is State.DRAINING)
    return app


def largest_text(settings: ServerSettings) -> int:
    """Bytes of the largest body or WebSocket message that may hold a text."""
    return MINIMUM_BODY + BYTES_PER_CHARACTER * settings.max_text_length


def _rules(settings: ServerSettings, known: set[str]) -> Rules:
    keys, limiter = None, None
    if settings.api_keys_path is not None:
        try:
            keys = KeyRing(settings.api_keys_path)
        except OSError as error:
            message = f"VOXRAGA_API_KEYS_PATH is {settings.api_keys_path}: {error.strerror}"
            raise StartupError("SettingsInvalid", message) from None
    if settings.rate_limit_per_minute is not None:
        limiter = Limiter(settings.rate_limit_per_minute, settings.rate_limit_burst)
    return Rules(
        keys=keys,
        limiter=limiter,
        allowed=settings.allowed_cidrs,
        proxies=settings.trusted_proxies,
        public_listings=settings.public_listings,
        known=frozenset(known),
        origins=settings.cors_origins,
    )
