"""HTTP plumbing of every server: request ids, access log, metrics and OpenAI's error bodies for whatever goes wrong."""

import re
import time
import uuid
from collections.abc import Callable, Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxraga_runtime.common.errors import InvalidRequest, VoxragaError, body_for_status
from voxraga_runtime.common.metrics import ServerMetrics

log = structlog.get_logger()

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
CURL_DEFAULT = b"application/x-www-form-urlencoded"
DISCARD = 64 << 20  # bytes of a refused body that are read for the sake of its answer
QUIET = frozenset({"/live", "/ready", "/metrics"})  # probed every few seconds: logged at debug


class Observed:
    """ASGI middleware: gives each request an id (X-Request-ID, in and out), logs and counts its answer.

    `draining` says whether connections should be closed after their answer, so that clients find another replica.
    """

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, draining: Callable[[], bool]) -> None:
        self._app = app
        self._metrics = metrics
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        started = time.perf_counter()
        scope.setdefault("state", {})["started"] = started
        status, sent = 499, 0

        async def observe(message: Message) -> None:
            nonlocal status, sent
            kind = message["type"]
            if kind in {"http.response.start", "websocket.http.response.start", "websocket.accept"}:
                status = message.get("status", 101)
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                if "cache" in scope["state"]:
                    message["headers"].append((b"x-cache", scope["state"]["cache"].encode()))
                if self._draining() and kind != "websocket.accept":
                    message["headers"].append((b"connection", b"close"))
            elif kind in {"http.response.body", "websocket.send"}:
                sent += len(message.get("body") or message.get("bytes") or b"")
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, observe)
            finally:
                self._record(scope, status, sent, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, sent: int, seconds: float) -> None:
        status = 499 if scope["state"].get("client_gone") else status
        endpoint = endpoint_of(scope)
        self._metrics.requests.labels(endpoint, str(status)).inc()
        self._metrics.duration.labels(endpoint).observe(seconds)
        write = log.debug if scope["path"] in QUIET else log.info
        state = scope["state"]
        write(
            "request",
            method=scope.get("method", "WEBSOCKET"),
            endpoint=endpoint,
            status=status,
            seconds=round(seconds, 4),
            bytes=sent,
            client=state.get("client") or (scope.get("client") or ("",))[0],
            **({"key": state["key"]} if "key" in state else {}),  # the name of its file
        )


class CurlIsJson:
    """ASGI middleware: reads `curl -d '{…}'` as JSON. curl says it were a form; these servers have no such forms."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [
                (k, b"application/json" if k == b"content-type" and v == CURL_DEFAULT else v)
                for k, v in scope["headers"]
            ]
        await self._app(scope, receive, send)


class BodyLimit:
    """ASGI middleware: 413 for a body over `limit` bytes, announced or not. FastAPI's own answers in plain text."""

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[str, int] | None = None) -> None:
        """`larger` are limits of paths that take files."""
        self._app = app
        self._limit = limit
        self._larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._larger.get(scope["path"], self._limit)
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > limit:
            await discard(receive)
            response = JSONResponse(body_for_status(413, _too_large(limit)), 413, {"Connection": "close"})
            await response(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                if message.get("more_body"):
                    await discard(receive)
                raise HTTPException(413, _too_large(limit), {"Connection": "close"})
            return message

        await self._app(scope, counted, send)


async def discard(receive: Receive) -> None:
    """Read the rest of a body, within reason: a connection closed on unread data is reset, and the answer lost."""
    read = 0
    while read < DISCARD:
        message = await receive()
        read += len(message.get("body", b""))
        if not message.get("more_body"):
            return


def _too_large(limit: int) -> str:
    return f"the request body is too large; at most {limit} bytes are read"


def _request_id(scope: Scope) -> str:
    given = next((v for k, v in scope["headers"] if k == b"x-request-id"), b"")
    return given.decode() if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def endpoint_of(scope: Scope) -> str:
    """The route's template, not the path a client made up: one label value for each endpoint."""
    route = scope.get("route")
    # a request that was refused at the door has no route, but maybe a path that is known
    return str(getattr(route, "path", None) or scope.get("state", {}).get("endpoint", "other"))


def install_error_handlers(app: FastAPI) -> None:
    """Make every error OpenAI's shape."""
    app.add_exception_handler(VoxragaError, _ours)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, VoxragaError)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse(error.body(), error.status, headers)


async def _not_valid(request: Request, error: Exception) -> JSONResponse:
    """422 of the framework becomes 400 that names the field; the value is left out: it may be the text."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return await _ours(request, InvalidRequest(f"the body is not valid JSON: {first['ctx']['error']}"))
    places = [str(p) for p in first["loc"] if p != "body"]
    if not places:
        return await _ours(request, InvalidRequest("the body must be a JSON object (Content-Type: application/json)"))
    return await _ours(request, InvalidRequest(f"{'.'.join(places)}: {first['msg']}", param=places[0]))


async def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    messages = {
        404: f"{request.url.path} does not exist",
        405: f"{request.method} is not allowed on {request.url.path}",
    }
    message = messages.get(error.status_code, str(error.detail))
    return JSONResponse(body_for_status(error.status_code, message), error.status_code, error.headers)


async def _unexpected(_request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", exc_info=error)
    return JSONResponse(body_for_status(500, "internal error; the server's log has the request id"), 500)
