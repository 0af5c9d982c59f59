"""Every error a client or the operator can see, and how it looks.

    VoxragaError                          status  type                    code
    ├── InvalidRequest                    400     invalid_request_error   invalid_value, …   the request is wrong
    ├── Unauthorized                      401     authentication_error    missing_api_key, invalid_api_key
    ├── Forbidden                         403     permission_error        address_not_allowed, origin_not_allowed
    ├── NotFound                          404     invalid_request_error   model_not_found, not_found
    ├── Overloaded                        429     rate_limit_error        queue_full         Retry-After
    ├── RateLimited                       429     rate_limit_error        rate_limit_exceeded  Retry-After
    ├── Unavailable                       503     service_unavailable     loading, draining, queue_timeout  Retry-After
    ├── SynthesisFailed                   500     server_error            synthesis_failed
    ├── TranscriptionFailed               500     server_error            transcription_failed
    └── ClientGone                        499     (nobody is left to read it)
    StartupError(reason, message)         exit 1, into the termination message
    framework's 404, 405, 413, 422→400    by status, in `body_for_status`

The body is OpenAI's: {"error": {"message", "type", "param", "code"}}. Messages say what was found, what is allowed, and
never hold the text that was to be spoken.
"""

from typing import Any


class VoxragaError(Exception):
    """An answer other than success."""

    status = 500
    type = "server_error"
    code = "internal_error"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.retry_after = retry_after  # seconds

    def body(self) -> dict[str, Any]:
        """OpenAI's error body."""
        return error_body(self.message, self.type, self.param, self.code)


class InvalidRequest(VoxragaError):  # noqa: N818 - named as the client meets it
    """400: the request can't succeed, whenever it is sent again."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class Unauthorized(VoxragaError):  # noqa: N818
    """401: no API key, or none that is known."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(VoxragaError):  # noqa: N818
    """403: whoever asks is known, and may not."""

    status = 403
    type = "permission_error"
    code = "forbidden"


class NotFound(VoxragaError):  # noqa: N818
    """404: no such model or path."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class Conflict(VoxragaError):  # noqa: N818
    """409: there is one of that name already."""

    status = 409
    type = "invalid_request_error"
    code = "already_exists"


class TooLarge(VoxragaError):  # noqa: N818
    """413: more bytes than are taken."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMedia(VoxragaError):  # noqa: N818
    """415: the body is of another kind than the route reads."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class Refused(VoxragaError):  # noqa: N818
    """422: well-formed, and still not taken: an uploaded model that is unsafe, broken or silent."""

    status = 422
    type = "invalid_request_error"
    code = "refused"


class Overloaded(VoxragaError):  # noqa: N818
    """429: the queue is full."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"


class RateLimited(VoxragaError):  # noqa: N818
    """429: this client asks more often than it may, whatever the server could do."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class Unavailable(VoxragaError):  # noqa: N818
    """503: not yet, or not any more; another replica may answer."""

    status = 503
    type = "service_unavailable"
    code = "unavailable"


class StorageFull(VoxragaError):  # noqa: N818
    """507: there is no room for it on the volume."""

    status = 507
    type = "server_error"
    code = "storage_full"


class SynthesisFailed(VoxragaError):  # noqa: N818
    """500: the model failed on a text that was valid."""

    code = "synthesis_failed"


class TranscriptionFailed(VoxragaError):  # noqa: N818
    """500: the model failed on audio that was valid."""

    code = "transcription_failed"


class ClientGone(VoxragaError):  # noqa: N818
    """The client left while its request waited; the status is for logs and metrics only."""

    status = 499
    type = "client_closed_request"
    code = "client_closed_request"


class StartupError(Exception):
    """A start that can't succeed; `reason` is one of the contract's (ModelMissing, …)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def error_body(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


_BY_STATUS = {
    404: ("invalid_request_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    413: ("invalid_request_error", "request_too_large"),
    415: ("invalid_request_error", "unsupported_media_type"),
}


def body_for_status(status: int, message: str) -> dict[str, Any]:
    """The body of an error that the web framework raised."""
    other = ("server_error", "internal_error") if status >= 500 else ("invalid_request_error", "bad_request")  # noqa: PLR2004
    kind, code = _BY_STATUS.get(status, other)
    return error_body(message, kind, None, code)
