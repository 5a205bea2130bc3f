"""TensorFlow's status codes, and the one exception that the runtime raises for a request or a load that fails."""

from __future__ import annotations

import enum
from collections.abc import Sequence


class Code(enum.IntEnum):
    """Canonical status codes: the numbers of `tensorflow.error.Code`, which are gRPC's too."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @classmethod
    def of(cls, number: int) -> Code:
        """The code of that number, UNKNOWN for one that has no name."""
        try:
            return cls(number)
        except ValueError:
            return cls.UNKNOWN


HTTP_STATUS: dict[Code, int] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


class ServingError(Exception):
    """A request, a load or a configuration that failed, with the code a client sees.

    `str()` is the sentence that goes out as `{"error": …}` or as the gRPC status message.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[ServingError], tuple[Code, str]]:
        return type(self), (self.code, str(self))

    def with_code(self) -> str:
        """Absl's `Status::ToString()`, which TensorFlow Serving quotes inside other messages."""
        return f"{self.code.name}: {self}"


class OverloadedError(ServingError):
    """More requests than this server takes at the same time; `retry_seconds` is when it may take them again."""

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, message)
        self.retry_seconds = retry_seconds


class StuckError(Exception):
    """Runs of graphs that TensorFlow cannot end have taken every thread, or hold a version that should be unloaded."""

    def __init__(self, runs: Sequence[str]) -> None:
        super().__init__(
            f"{', '.join(runs)} did not end at the deadline and cannot be ended: correct the graph, where a loop that "
            "XLA has compiled does not end for some input"
        )


def invalid(message: str) -> ServingError:
    """The client sent something that cannot be served (HTTP 400)."""
    return ServingError(Code.INVALID_ARGUMENT, message)
