"""Why a request to the API server failed, as one tree: what a caller can do about it is the class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ApiFailure(Exception):  # noqa: N818 - a tree of what happened, not of "errors"
    """A request that did not succeed.

    Attributes:
        status: HTTP status, or 0 where no answer came.
        reason: Kubernetes' CamelCase reason (`AlreadyExists`), or the class name where none was sent.
        message: sentence of the API server, or of the network.
        retry_after: seconds the server asked to wait, or None.
        permanent: the same request will fail again until a person or an administrator changes something.
    """

    permanent = False

    @property
    def unanswered(self) -> bool:
        """Whether nothing was heard of the API server: an :class:`Outage` tells of that, once for all requests."""
        return self.status == 0

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class NotFound(ApiFailure):
    """The object, its namespace or its kind is not there."""


class Conflict(ApiFailure):
    """The object changed, or is another one of the same name (uid): read again, decide again.

    Attributes:
        found: the object as it is instead, where that is known.
    """

    found: Mapping[str, Any] | None = None


class AlreadyExists(Conflict):
    """An object of that name is there, and nothing was changed."""


class Invalid(ApiFailure):
    """The API server refuses the content (400 or 422)."""

    permanent = True


class Unauthorized(ApiFailure):
    """The credentials were refused (401)."""


class Forbidden(ApiFailure):
    """RBAC, a quota or an admission policy refuses it (403)."""

    permanent = True


class TooManyRequests(ApiFailure):
    """The API server sheds load (429): wait `retry_after` seconds."""


class ServerUnavailable(ApiFailure):
    """No connection, or a 5xx answer."""


class TimedOut(ApiFailure):
    """No answer in time; the request may have been carried out."""


class NotLeading(ApiFailure):
    """It was not sent: this replica's Lease has ended, and another may be writing."""


_BY_STATUS: Mapping[int, type[ApiFailure]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: TimedOut,
    409: Conflict,
    410: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: TooManyRequests,
    504: TimedOut,
}


def failure_of(status: int, body: Mapping[str, Any], retry_after: float | None, request: str) -> ApiFailure:
    """The failure that an HTTP error answer means.

    Args:
        status: HTTP status, 400 or above.
        body: the `Status` object of the answer; anything else (a proxy's page) may be an empty mapping.
        retry_after: seconds of the `Retry-After` header, or None.
        request: what was asked, for an answer that does not say why, e.g. `PATCH /api/v1/…`.
    """
    reason = str(body.get("reason") or "")
    message = str(body.get("message") or f"{request} was answered with HTTP status {status}")
    failure = _BY_STATUS.get(status, ServerUnavailable if status >= 500 else ApiFailure)
    if failure is Conflict and reason == "AlreadyExists":
        failure = AlreadyExists
    if retry_after is None and isinstance(seconds := (body.get("details") or {}).get("retryAfterSeconds"), int | float):
        retry_after = float(seconds)
    return failure(status, reason or failure.__name__, message, retry_after)
