"""What can go wrong with a call to the API server, with the server's own words."""

import json
from http import HTTPStatus
from typing import Any


class ApiError(Exception):
    """An answer that is no success, or none at all (status 0)."""

    def __init__(self, status: int, reason: str, message: str, *, what: str = "", retry_after: float = 0.0) -> None:
        super().__init__(f"{what}: {message}" if what else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.what = what
        self.retry_after = retry_after

    @property
    def not_found(self) -> bool:
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """A precondition that failed: somebody else was faster, look again."""
        return self.status == HTTPStatus.CONFLICT and self.reason != "AlreadyExists"

    @property
    def already_exists(self) -> bool:
        return self.status == HTTPStatus.CONFLICT and self.reason == "AlreadyExists"

    @property
    def refused(self) -> bool:
        """The server understood and says no: the same call gets the same answer until something is changed."""
        return self.status in {
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.METHOD_NOT_ALLOWED,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
        }


def from_response(status: int, body: bytes, what: str, retry_after: float) -> ApiError:
    """Reads the Status object of an error; anything else (a proxy's HTML) is cut and passed on."""
    try:
        answer: Any = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("kind") == "Status":
        reason, message = str(answer.get("reason") or ""), str(answer.get("message") or "")
        return ApiError(status, reason, message, what=what, retry_after=retry_after)
    text = body[:200].decode("utf-8", "replace").strip()
    return ApiError(status, "", text or f"HTTP {status}", what=what, retry_after=retry_after)
