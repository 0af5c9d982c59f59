"""The door of every server, as ASGI middleware: keys, addresses, rate limits, CORS and security headers.

Refusals are made before the body is looked at. Probes and /metrics are outside of all of it: the kubelet and
Prometheus have no keys, and NetworkPolicies are what keeps others from them.
"""

import functools
import hashlib
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxraga_runtime.common.access import (
    KeyRing,
    Limiter,
    Network,
    Verdict,
    bucket_name,
    client_address,
    presented_key,
    within,
)
from voxraga_runtime.common.errors import Forbidden, RateLimited, Unauthorized, VoxragaError
from voxraga_runtime.common.http import discard

PROBES = frozenset({"/live", "/ready", "/health", "/metrics"})
LISTINGS = re.compile(r"/(v1/)?models(/[^/]+)?|/v1/audio/(models|voices)|/openapi\.json")
UPLOAD = "/models/upload"
PAGE = "/"  # it asks for a key itself
READING = frozenset({"GET", "HEAD"})
EXPOSED = ("X-Request-ID", "X-Sample-Rate", "X-Cache", "Retry-After", "Content-Disposition")
LIMIT_HEADERS = tuple(f"x-ratelimit-{part}-requests" for part in ("limit", "remaining", "reset"))


@dataclass(frozen=True, slots=True)
class Rules:
    """What the door goes by; empty or None switches a rule off. `known`: the paths that logs and metrics may name."""

    keys: KeyRing | None = None
    limiter: Limiter | None = None
    allowed: Sequence[Network] = ()
    proxies: Sequence[Network] = ()
    public_listings: bool = True
    known: Collection[str] = field(default_factory=frozenset)
    origins: Collection[str] = ()


class Guard:
    """Lets a request in, or answers it: 403 by its address, 401 by its key, 429 by its rate."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        verdict: Verdict | None = None
        try:
            verdict = self._admit(scope, state)
            if verdict is not None and verdict.wait:
                raise too_many(verdict)
        except VoxragaError as error:
            state["endpoint"] = scope["path"] if scope["path"] in self._rules.known else "other"
            await _refuse(scope, receive, _with_limits(send, verdict), error)
            return
        await self._app(scope, receive, _with_limits(send, verdict))

    def _admit(self, scope: Scope, state: dict[str, object]) -> Verdict | None:
        """The verdict of the limiter, where there is one; raises what is wrong with the address or the key."""
        rules = self._rules
        forwarded = [v.decode("latin-1") for k, v in scope["headers"] if k == b"x-forwarded-for"]
        address = client_address((scope.get("client") or ("",))[0], forwarded, rules.proxies)
        state["client"] = str(address)
        if rules.allowed and (address is None or not within(address, rules.allowed)):
            raise Forbidden(f"requests from {address} are not allowed", code="address_not_allowed")
        if _needs_no_preflight(scope) and not self._same_site(scope):
            raise Forbidden("pages of other origins may not do that", code="origin_not_allowed")
        if self._is_open(scope):
            return None
        refusal, bucket = None, bucket_name(address)
        if rules.keys is not None:
            key = presented_key(scope["headers"])
            name = None if key is None else rules.keys.name_of(key)
            if name is None:
                refusal = _no_key() if key is None else _wrong_key()
            else:
                state["key"] = name
                # by what the key is, not by its file: two of a file are two clients
                bucket = "key " + hashlib.sha256((key or "").encode("utf-8", "surrogateescape")).hexdigest()
        verdict = None
        if rules.limiter:
            state["take"] = functools.partial(rules.limiter.take, bucket)  # for what goes on within one connection
            verdict = rules.limiter.take(bucket)
        if refusal and not (verdict and verdict.wait):  # who guesses keys is slowed down like everybody
            raise refusal
        return verdict

    def _same_site(self, scope: Scope) -> bool:
        """Browsers let any page open a WebSocket, and only say whose it is: CORS ends here."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        return not origin or origin in self._rules.origins or origin.partition("://")[2] == host

    def _is_open(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] not in READING:
            return False
        return scope["path"] == PAGE or (self._rules.public_listings and bool(LISTINGS.fullmatch(scope["path"])))


def _needs_no_preflight(scope: Scope) -> bool:
    """What a browser lets any page do without asking first, and what has effects: a WebSocket, an upload's form."""
    return scope["type"] == "websocket" or (scope["method"], scope["path"]) == ("POST", UPLOAD)


def _no_key() -> Unauthorized:
    message = "an API key is needed: send it as Authorization: Bearer <key>, or as X-API-Key"
    return Unauthorized(message, code="missing_api_key")


def _wrong_key() -> Unauthorized:
    return Unauthorized("the API key is not valid (any more)", code="invalid_api_key")


def too_many(verdict: Verdict) -> RateLimited:
    message = f"too many requests: {verdict.limit} a minute are allowed; send it again in {verdict.wait:.1f} s"
    return RateLimited(message, retry_after=math.ceil(verdict.wait))


async def _refuse(scope: Scope, receive: Receive, send: Send, error: VoxragaError) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.message})
        return
    headers = {"Connection": "close"}
    if scope["type"] == "http":
        await discard(receive)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="voxraga"'
    await JSONResponse(error.body(), error.status, headers)(scope, receive, send)


def _with_limits(send: Send, verdict: Verdict | None) -> Send:
    """`send`, which tells every answer's reader what is left for him: OpenAI's headers."""
    if verdict is None:
        return send
    values = (str(verdict.limit), str(verdict.remaining), f"{verdict.full_in:.3f}s")

    async def sending(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            MutableHeaders(scope=message).update(dict(zip(LIMIT_HEADERS, values, strict=True)))
        await send(message)

    return sending


class SecurityHeaders:
    """Every answer: no sniffing, no referrer, in nobody's frame, and scripts only where an answer's own policy says."""

    DEFAULTS = {  # noqa: RUF012 - never changed
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    }

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                headers = MutableHeaders(scope=message)
                for name, value in self.DEFAULTS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending)


def cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Pages of these origins, exactly, may call; without cookies, so that only a key they hold lets them in."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=("*",),  # OpenAI's client for browsers sends a dozen of its own
        expose_headers=(*EXPOSED, *LIMIT_HEADERS),
    )
