"""/ : a page for people, a few facts for programs, and 200 for those that only open a connection ahead of time."""

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from voxraga_runtime.common.version import VERSION
from voxraga_runtime.server.routes.access import Service

router = APIRouter(tags=["native"])

PAGE = files("voxraga_runtime.server").joinpath("page/index.html").read_text(encoding="utf-8")


def _hashes(element: str) -> str:
    """What the policy lets run: exactly the page's own text, by its hash."""
    found = re.findall(rf"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in found)


ROOT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The page to a browser, else where to go",
        "content": {
            "application/json": {"example": {"name": "vox-raga model server", "speak": ["/v1/audio/speech"]}},
            "text/html": {"schema": {"type": "string"}},
        },
    }
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hashes('script')}",
        f"style-src {_hashes('style')}",
        "connect-src 'self'",
        "media-src blob:",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@router.head("/", include_in_schema=False)
@router.get("/", response_class=JSONResponse, responses=ROOT)
async def index(request: Request, service: Service) -> Response:
    """The page to a browser (Accept: text/html), else where to go."""
    if "text/html" in request.headers.get("accept", ""):
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "Vary": "Accept"}
        return HTMLResponse(PAGE, headers=headers)
    facts = {
        "name": "vox-raga model server",
        "version": VERSION,
        "model": service.settings.model_name,
        "speak": ["/v1/audio/speech", "/synthesize"],
        "about": ["/models", "/v1/models", "/v1/audio/voices", "/health", "/metrics", "/openapi.json"],
    }
    return JSONResponse(facts, headers={"Vary": "Accept"})
