"""What every route needs: the service behind the application."""

from typing import Annotated

from fastapi import Depends, Request

from voxraga_runtime.server.service import SpeechService


def _service(request: Request) -> SpeechService:
    service: SpeechService = request.app.state.service
    return service


Service = Annotated[SpeechService, Depends(_service)]
