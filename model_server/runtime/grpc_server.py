"""The gRPC port: which services, and how it ends without losing a call that has reached this process.

gRPC knows two kinds of calls in a server: those that the application has taken, which `stop` lets finish, and those
that have arrived and wait to be taken. The latter, and those that arrive before their client has read the GOAWAY, it
answers with CANCELLED once it is stopped (https://github.com/grpc/grpc/issues/41785), which no client tries again. So
clients are sent away before: every connection ends after some seconds by a GOAWAY while calls are taken as ever, and
its client connects anew, to a pod that stays. The server is stopped when no call has come for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from model_server.runtime.grpc_service import ModelService, PredictionService
from model_server.runtime.open_inference_grpc import OpenInferenceService
from model_server.runtime.protobufs import prediction_services

# The names that TensorFlow Serving sets; "" (the whole server) is serving from the start.
_HEALTH_NAMES = ("ModelService", "PredictionService")
# How long a connection lives, but for gRPC's own 10 % more or less; a client that comes back costs half a millisecond.
# It also lets clients that stay connected find pods that are new.
_CONNECTION_AGE_MS = 15_000
_AGE_ARGUMENT = "grpc.max_connection_age_ms"
# By then every connection has ended, and no call has come for a while. Whoever connects to this very process again and
# goes on calling never leaves a quiet moment.
_LONGEST_WAIT_SECONDS = 18.0


class _Unreadable(NamedTuple):
    """What stands for a message that is no proto of its type."""

    mistake: str


class Arrivals(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Sees every call when it is taken.

    gRPC answers INTERNAL to a message that cannot be parsed. That is the client's mistake, so it is INVALID_ARGUMENT.
    """

    def __init__(self) -> None:
        self._last = 0.0
        self._handlers: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Note the time and go on."""
        self._last = time.monotonic()
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        # Only methods that exist come here: the table cannot grow with what clients send.
        self._handlers[method] = found = _checking(method, handler)
        return found

    async def until_quiet(self, quiet: float, longest: float) -> None:
        """Return when no call has been taken for `quiet` seconds, or at last after `longest` seconds.

        On a machine that is too busy to let this process run, time says nothing about what has arrived: a sleep that
        ends late does not count.
        """
        step, counted, punctual, begin = quiet / 20, 0.0, 0.0, time.monotonic()
        while counted < quiet and punctual < _LONGEST_WAIT_SECONDS and time.monotonic() < begin + longest:
            before, started = self._last, time.monotonic()
            await asyncio.sleep(step)
            if time.monotonic() - started < 2 * step:
                punctual += step
                counted += step
            if self._last != before:
                counted = 0.0


def _checking(method: str, handler: Any) -> Any:
    """The handler of a unary method, which answers messages that cannot be parsed."""
    parse, answer = handler.request_deserializer, handler.unary_unary

    def read(message: bytes) -> Any:
        try:
            return parse(message)
        except DecodeError as error:
            return _Unreadable(f"the message for {method} cannot be parsed: {error}")

    async def respond(request: Any, context: Any) -> Any:
        if isinstance(request, _Unreadable):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, request.mistake)
        return await answer(request, context)

    return grpc.unary_unary_rpc_method_handler(respond, read, handler.response_serializer)


class GrpcServer:
    """The services behind one or more gRPC ports."""

    def __init__(
        self,
        prediction: PredictionService,
        models: ModelService,
        open_inference: OpenInferenceService,
        arguments: Sequence[tuple[str, int | str]],
        *,
        max_bytes: int,
        max_calls: int | None,
        healthcheck: bool,
    ) -> None:
        """To be made where an event loop runs. `arguments` are gRPC channel arguments.

        `max_bytes` bounds one request, -1 does not. `max_calls` bounds the calls that are answered at the same time.
        """
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", max_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a port that is taken must be an error
            *arguments,
        ]
        if all(name != _AGE_ARGUMENT for name, _ in arguments):
            options.append((_AGE_ARGUMENT, _CONNECTION_AGE_MS))
        self._arrivals = Arrivals()
        self._server = grpc.aio.server(
            options=options, interceptors=[self._arrivals], maximum_concurrent_rpcs=max_calls
        )
        prediction_grpc, model_grpc = prediction_services()
        prediction_grpc.add_PredictionServiceServicer_to_server(prediction, self._server)
        model_grpc.add_ModelServiceServicer_to_server(models, self._server)
        self._server.add_generic_rpc_handlers((open_inference.handler(),))
        self._health: Any = None
        if healthcheck:
            self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # missing from the stubs
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen at `host:port` or `unix:path` once started. Raises RuntimeError when it is taken."""
        if credentials is None:
            self._server.add_insecure_port(address)
        else:
            self._server.add_secure_port(address, credentials)

    async def start(self) -> None:
        """Take calls."""
        if self._health is not None:
            for service in _HEALTH_NAMES:
                await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def drain(self, grace: float, quiet: float = 1.0) -> None:
        """Take what arrives until clients are gone, finish what was taken, and end; within `grace` seconds."""
        end = time.monotonic() + grace
        if self._health is not None:
            # Clients that watch the health go elsewhere by themselves before they are sent away.
            await self._health.enter_graceful_shutdown()
        await self._arrivals.until_quiet(quiet, 0.75 * grace)
        await self._server.stop(max(0.0, end - time.monotonic()))
