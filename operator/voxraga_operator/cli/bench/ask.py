"""One request for speech: sent, listened to as it comes, and what became of it."""

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from voxraga_operator.cli.bench.audio import audio
from voxraga_operator.cli.failure import Failure

PATH = "/v1/audio/speech"
SILENCE = 60.0
"""Seconds without a byte after which an answer counts as an error."""

_REFUSALS = (429, 503)
_OK, _WRONG, _FAULT = 200, 300, 500
_PIECE = 65_536
_SHOWN = 300


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A whole answer; times in seconds from the request's begin."""

    first: float
    whole: float
    audio: float | None  # seconds of speech; None where the format does not tell


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The server said that it has no room now."""

    status: int
    wait: float  # seconds, as Retry-After asks


@dataclass(frozen=True)
class Failed:
    """No speech, or not all of it."""

    why: str


Outcome = Spoken | Refused | Failed


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is asked, and where; `fields` are those of the request's body but its text."""

    url: str
    fields: Mapping[str, Any]
    key: str | None = field(default=None, repr=False)

    @property
    def format(self) -> str:
        return str(self.fields["response_format"])


def endpoint(url: str) -> str:
    """The address of the speech endpoint, for a server's address with or without its path."""
    parts = urlsplit(url)
    try:
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        known = False
    if not known:
        raise Failure(f"--url {url}: give the server's address, such as http://127.0.0.1:8080")
    if parts.username is not None or parts.query or parts.fragment:
        raise Failure("--url takes an address alone; a key goes into a file: --key-file PATH")
    base = parts.path.rstrip("/").removesuffix("/audio/speech").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{base}{PATH}"


class Client:
    """One caller with one connection, kept open from request to request as applications do."""

    def __init__(self, target: Target) -> None:
        self._target = target
        parts = urlsplit(target.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._path = parts.path
        self._aborted = False
        self._connection = kind(parts.hostname or "", parts.port, timeout=SILENCE)
        self._headers = {"Content-Type": "application/json", "User-Agent": "voxraga-bench"}
        if target.key:
            self._headers["Authorization"] = f"Bearer {target.key}"

    def ask(self, text: str) -> Outcome:
        """Raises Failure where the server says that the request itself is wrong: asking again would not help."""
        try:
            return self._ask(json.dumps({**self._target.fields, "input": text}))
        except ssl.SSLCertVerificationError as error:
            raise Failure(f"{self._target.url}: its certificate does not hold: {error.verify_message}") from None
        except TimeoutError:
            return self._failed(f"no byte for {SILENCE:.0f} s")
        except http.client.IncompleteRead:
            return self._failed("the answer was cut off")
        except OSError as error:
            return self._failed(error.strerror or str(error) or type(error).__name__)
        except http.client.HTTPException as error:
            return self._failed(f"no proper HTTP answer: {error!r}")

    def close(self) -> None:
        self._connection.close()

    def abort(self) -> None:
        """From another thread: an answer under way ends, and is not asked for again."""
        self._aborted = True
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _ask(self, body: str) -> Outcome:
        begun = time.monotonic()
        response = self._answer(body)
        if response.status != _OK:
            told = message(response.read())
            return self._refused(response, told)
        kind = response.headers.get_content_type()
        if kind.startswith("text/") or kind == "application/json":
            return self._failed(f"the answer is {kind}, not audio")
        heard, first = audio(self._target.format, response.headers), 0.0
        while piece := response.read1(_PIECE):  # what has come, without waiting for more of it
            heard.take(piece)
            if heard.begun and not first:
                first = time.monotonic() - begun
        whole = time.monotonic() - begun
        response.close()  # the connection is for the next request; read1 leaves that open in Python 3.11
        if response.length:  # of a Content-Length; read1 does not look at it
            return self._failed("the answer was cut off")
        if not heard.begun:
            return self._failed("the answer holds no audio")
        return Spoken(first=first, whole=whole, audio=heard.seconds)

    def _answer(self, body: str) -> http.client.HTTPResponse:
        """The answer's head. A kept connection may have been closed meanwhile by the server, which is no error."""
        kept = self._connection.sock is not None
        try:
            self._connection.request("POST", self._path, body.encode(), self._headers)
            return self._connection.getresponse()
        except (ConnectionResetError, BrokenPipeError):  # RemoteDisconnected is one
            self.close()
            if not kept or self._aborted:
                raise
        self._connection.request("POST", self._path, body.encode(), self._headers)
        return self._connection.getresponse()

    def _refused(self, response: http.client.HTTPResponse, told: str) -> Outcome:
        status = response.status
        self.close()
        if status in _REFUSALS:
            wait = response.headers.get("Retry-After") or ""
            return Refused(status=status, wait=float(wait) if wait.isdecimal() else 1.0)
        if _WRONG <= status < _FAULT:
            place = response.headers.get("Location")
            moved = f"; it is at {place}, say so by --url" if place else ""
            raise Failure(f"{self._target.url} answers {status}: {told}{moved}")
        return Failed(f"{status}: {told}")

    def _failed(self, why: str) -> Failed:
        self.close()
        return Failed(why)


def message(body: bytes) -> str:
    """What an error says: OpenAI's `error.message`, FastAPI's `detail`, or the beginning of what came."""
    text = body.decode(errors="replace").strip()
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if isinstance(told, dict):
        error = told.get("error", told.get("detail", told))
        told = error.get("message", error) if isinstance(error, dict) else error
    line = " ".join(str(told or text).split()) or "no reason given"
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
