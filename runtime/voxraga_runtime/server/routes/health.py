"""Probes, health and metrics: answered by the event loop, whatever the workers are busy with."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from voxraga_runtime.common.metrics import CONTENT_TYPE
from voxraga_runtime.common.version import VERSION
from voxraga_runtime.server.routes.access import Service
from voxraga_runtime.server.service import State

router = APIRouter(tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    """200 as long as the event loop answers."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(service: Service) -> JSONResponse:
    """200 once the warm-up sentence was spoken, 503 before and from the first SIGTERM on."""
    return JSONResponse({"status": service.state}, 200 if service.state is State.READY else 503)


@router.get("/health")
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


@router.get("/metrics")
async def metrics(service: Service) -> Response:
    """Prometheus' text format."""
    return Response(service.metrics.render(), media_type=CONTENT_TYPE)
