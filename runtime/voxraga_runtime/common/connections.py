"""uvicorn's HTTP connections, with an end: who sends nothing, or too slowly, makes room; what is no HTTP is told so.

Who doesn't read is the kernel's business (`UNREAD`, set on the listening socket): that holds for WebSockets too.
"""

import asyncio
import json
from typing import Any

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from voxraga_runtime.common.errors import body_for_status

HEADER = 30.0  # seconds for a request's header; from the first byte, or from the connection
BODY = 30.0  # seconds for a request's body, and one more for each SLOWEST bytes that came
SLOWEST = 16 << 10  # bytes a second
UNREAD = 60.0  # seconds in which a client takes nothing of what is there for it
MOST = 4096  # connections at once; a file descriptor each

log = structlog.get_logger()


class BoundedProtocol(H11Protocol):
    """One connection. The time to answer is not its business: see admission."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._awaited: str | None = None  # header, body
        self._since = 0.0
        self._received = 0  # bytes, since then
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST:
            log.warning("too many connections", most=MOST)
            transport.abort()
            return
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_protocol() is self:
            self._look()
            self._received += len(data)
        else:  # it is a WebSocket now, which asks its client for signs of life
            self._rest()

    def _look(self) -> None:
        """See what is to come, and give it its time, if that isn't running yet."""
        awaited = {h11.IDLE: "header", h11.SEND_BODY: "body"}.get(self.conn.their_state)
        if awaited == self._awaited:
            return
        self._rest()
        self._awaited, self._since, self._received = awaited, self.loop.time(), 0
        if awaited is not None:
            self._deadline = self.loop.call_later(self._allowance(), self._late)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _allowance(self) -> float:
        return HEADER if self._awaited == "header" else BODY + self._received / SLOWEST

    def _late(self) -> None:
        left = self._since + self._allowance() - self.loop.time()
        if left > 0:  # a body that is slow, but not too slow
            self._deadline = self.loop.call_later(left, self._late)
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what reads the body is told that nobody is there
            self.cycle.message_event.set()
        self._tell(408, "the request did not come in time; send it again, faster")

    def send_400_response(self, msg: str) -> None:
        self._tell(400, f"{msg} This port speaks HTTP/1.1.")

    def _tell(self, status: int, message: str) -> None:
        """OpenAI's error, where the connection can still take one, and its end."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = json.dumps(body_for_status(status, message)).encode()
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            response = h11.Response(status_code=status, headers=headers)
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
