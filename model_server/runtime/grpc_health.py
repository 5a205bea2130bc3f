"""gRPC's health service: https://github.com/grpc/grpc/blob/master/doc/health-checking.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from grpc_health.v1 import health_pb2

from model_server.runtime.errors import Code, ServingError
from model_server.runtime.http2.call import Call, Method

_SERVICE = "grpc.health.v1.Health"
# "" is the whole server; the other names are those that TensorFlow Serving sets.
_NAMES = frozenset({"", "ModelService", "PredictionService"})
_STATUS: Any = health_pb2.HealthCheckResponse
_LONGEST_NAME = 200


class HealthService:
    """`grpc.health.v1.Health`. To be made where an event loop runs."""

    def __init__(self) -> None:
        self._ends = asyncio.Event()

    def end(self) -> None:
        """Say NOT_SERVING from now on."""
        self._ends.set()

    def _status(self) -> Any:
        return _STATUS.NOT_SERVING if self._ends.is_set() else _STATUS.SERVING

    async def check(self, request: Any, _: Call) -> Any:
        """Whether a service answers."""
        if request.service not in _NAMES:
            raise ServingError(Code.NOT_FOUND, f"unknown service {request.service[:_LONGEST_NAME]!r}")
        return _STATUS(status=self._status())

    async def watch(self, request: Any, _: Call) -> AsyncIterator[Any]:
        """Whether a service answers, now and whenever that changes."""
        known = request.service in _NAMES
        before = self._status() if known else _STATUS.SERVICE_UNKNOWN
        yield _STATUS(status=before)
        await self._ends.wait()
        if known and before != self._status():
            yield _STATUS(status=self._status())
        await asyncio.Event().wait()  # nothing changes any more: the client or the end of the server ends this

    def methods(self) -> Iterator[Method]:
        """The service's methods."""
        read = health_pb2.HealthCheckRequest.FromString
        yield Method(f"/{_SERVICE}/Check", read, self.check)
        yield Method(f"/{_SERVICE}/Watch", read, self.watch, streams=True)
