"""The WebSocket route; what is said over it is in server.live."""

from fastapi import APIRouter, WebSocket

from voxraga_runtime.common.access import SUBPROTOCOL
from voxraga_runtime.server.live import LiveSession

router = APIRouter(tags=["OpenAI"])


@router.websocket("/v1/audio/speech/stream")
async def stream(socket: WebSocket) -> None:
    """Text in as it is written, audio out as it is made."""
    offered: list[str] = socket.scope.get("subprotocols") or []
    # a browser breaks off where none of those it offered is taken; the one with the key is not sent back if another is
    others = [name for name in offered if not name.encode().startswith(SUBPROTOCOL)]
    await socket.accept(subprotocol=next(iter(others or offered), None))
    await LiveSession(socket, socket.app.state.service).run()
