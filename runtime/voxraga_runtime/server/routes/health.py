"""Probes, health and metrics: answered by the event loop, whatever the workers are busy with."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from voxraga_runtime.common.metrics import CONTENT_TYPE
from voxraga_runtime.common.version import VERSION
from voxraga_runtime.server.routes.access import Service
from voxraga_runtime.server.routes.answers import example
from voxraga_runtime.server.service import State

HEALTH = {"status": "ready", "model": "narrator", "device": "cpu", "queue_size": 0, "in_flight": 1, "workers": 2}
LOADING = {"status": "loading"}
METRICS = "voxraga_queue_size 0.0"
router = APIRouter(tags=["health"])


@router.get("/live", responses=example("Alive", {"status": "ok"}))
async def live() -> dict[str, str]:
    """200 as long as the event loop answers."""
    return {"status": "ok"}


@router.get(
    "/ready",
    responses={
        **example("Ready", {"status": "ready"}),
        503: {"description": "Not yet, or not any more", "content": {"application/json": {"example": LOADING}}},
    },
)
async def ready(service: Service) -> JSONResponse:
    """200 once the warm-up sentence was spoken, 503 before and from the first SIGTERM on."""
    return JSONResponse({"status": service.state}, 200 if service.state is State.READY else 503)


@router.get("/health", responses=example("What the server is doing", HEALTH))
async def health(service: Service) -> dict[str, Any]:
    """What the server is doing. Always 200: probes have their own routes."""
    settings = service.settings
    return {
        "status": service.state,
        "version": VERSION,
        "model": settings.model_name,
        "device": settings.device,
        "queue_size": service.admission.waiting,
        "in_flight": service.admission.running,
        "workers": service.admission.slots,
        "path": str(settings.model_path.resolve()),
    }


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"description": "Prometheus' text format", "content": {"text/plain": {"example": METRICS}}}},
)
async def metrics(service: Service) -> Response:
    """Prometheus' text format."""
    return Response(service.metrics.render(), media_type=CONTENT_TYPE)
