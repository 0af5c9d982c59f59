"""What every route needs: the service behind the application, and to know when a client leaves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from voxraga_runtime.server.service import SpeechService


def _service(request: Request) -> SpeechService:
    service: SpeechService = request.app.state.service
    return service


Service = Annotated[SpeechService, Depends(_service)]


@contextlib.asynccontextmanager
async def leaving(request: Request) -> AsyncIterator[asyncio.Event]:
    """An event that is set once the client closes its connection; the request's body must have been read."""
    gone = asyncio.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        request.scope["state"]["client_gone"] = True
        gone.set()

    watcher = asyncio.create_task(watch())
    try:
        yield gone
    finally:
        watcher.cancel()
