"""One HTTP client for every source: what a failure means, when to try again, where credentials may go."""

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog

from .errors import StoreError

CONNECT_TIMEOUT = 10.0  # seconds
LONGEST_WAIT = 30.0  # seconds between two attempts, unless the server asks for more
LONGEST_RETRY_AFTER = 120.0  # seconds; a server that asks for more is asked again by the Job's next retry
REDIRECTS = 10
OK, PARTIAL, NOT_MODIFIED, RANGE_NOT_SATISFIABLE = 200, 206, 304, 416
TRY_AGAIN = {408, 425, 429}
SERVER_ERROR = 500

log = structlog.get_logger(__name__)
T = TypeVar("T")


class TransientError(Exception):
    """A failure that another attempt may cure; `wait` in seconds when the server named a time."""

    def __init__(self, reason: str, message: str, *, wait: float | None = None, progressed: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.wait = wait
        self.progressed = progressed


class Http:
    """httpx with the fetch's timeouts and retries. `timeout` and `backoff` are in seconds."""

    def __init__(self, *, timeout: float = 30.0, attempts: int = 6, backoff: float = 1.0) -> None:
        self.attempts = attempts
        self.backoff = backoff
        self.client = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
            follow_redirects=True,  # httpx drops Authorization when a redirect leaves the host
            max_redirects=REDIRECTS,
            headers={"User-Agent": "voxraga-runtime", "Accept-Encoding": "identity"},  # ranges count plain bytes
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def json(self, url: str, headers: Mapping[str, str]) -> tuple[Any, httpx.Response]:
        """Read a JSON document. Raises StoreError with a Source… reason."""

        def once() -> tuple[Any, httpx.Response]:
            with failures(url):
                response = self.client.get(url, headers=dict(headers))
            check(response, url)
            try:
                return response.json(), response
            except ValueError as error:
                raise StoreError("SourceUnreachable", f"{shown(url)} did not answer with JSON: {error}") from error

        return self.retrying(url, once)

    def retrying(self, url: str, once: Callable[[], T]) -> T:
        """Call `once` until it succeeds; after `attempts` transient failures in a row without a byte, give up."""
        failed = 0
        while True:
            try:
                return once()
            except TransientError as error:
                failed = 1 if error.progressed else failed + 1
                if failed >= self.attempts:
                    raise StoreError(error.reason, f"{error} ({failed} attempts)") from error
                wait = self._wait(failed, error.wait)
                log.warning(
                    "download interrupted", url=shown(url), error=str(error), attempt=failed, wait=round(wait, 1)
                )
                time.sleep(wait)

    def _wait(self, failed: int, asked: float | None) -> float:
        if asked is not None:
            return min(asked, LONGEST_RETRY_AFTER)
        # jitter: several fetches that lost the same server should not come back together
        return min(self.backoff * 2.0 ** (failed - 1), LONGEST_WAIT) * random.uniform(0.75, 1.25)  # noqa: S311


class failures:  # noqa: N801  # reads as a word: with failures(url)
    """Turns httpx's exceptions into TransientError, or StoreError where another attempt cannot help."""

    def __init__(self, url: str, progressed: Callable[[], bool] = lambda: False) -> None:
        self.url = url
        self.progressed = progressed

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        host = urlsplit(self.url).netloc.rpartition("@")[2]
        if isinstance(error, httpx.TimeoutException):
            message = f"{host} did not answer in time for {shown(self.url)} ({type(error).__name__})"
            raise TransientError("SourceTimeout", message, progressed=self.progressed()) from error
        if isinstance(
            error, (httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.DecodingError)
        ):
            raise StoreError("SourceUnreachable", f"{shown(self.url)}: {error}", retriable=False) from error
        if isinstance(error, httpx.TransportError):
            message = f"{host} cannot be reached or broke off for {shown(self.url)}: {error or type(error).__name__}"
            raise TransientError("SourceUnreachable", message, progressed=self.progressed()) from error


def check(response: httpx.Response, url: str) -> None:
    """Raise StoreError or TransientError unless the answer is a success."""
    code, host = response.status_code, response.url.host
    if response.is_success or code == NOT_MODIFIED:
        return
    answered = f"{host} answered {code} for {shown(url)}"
    if code in (401, 403):
        raise StoreError("SourceForbidden", f"{answered}; check the token or user in the source's secretRef")
    if code in (404, 410):
        raise StoreError("SourceNotFound", f"{answered}; check the name, the revision and the path in spec.source")
    if code in TRY_AGAIN or code >= SERVER_ERROR:
        raise TransientError("SourceUnreachable", answered, wait=retry_after(response.headers.get("Retry-After")))
    raise StoreError("SourceUnreachable", answered, retriable=False)


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or as a date; None without a usable one."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def shown(url: str) -> str:
    """A URL without what may be secret in it: no user, no password, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
