"""The Open Inference Protocol, version 2, over gRPC: `inference.GRPCInferenceService`.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_grpc.md. Method names are
those of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.grpc_service import counted, refusing
from model_server.runtime.http2.call import Call, Method
from model_server.runtime.manager import Manager, Version
from model_server.runtime.monitoring import Metrics
from model_server.runtime.open_inference import Decoded, decode_infer, model_metadata, server_metadata
from model_server.runtime.open_inference_proto import SERVICE, message
from model_server.runtime.open_inference_tensors import infer_response, read_infer
from model_server.runtime.predictor import Predictor
from model_server.runtime.servable import Servable

_METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")


class OpenInferenceService:
    """`inference.GRPCInferenceService`."""

    def __init__(self, manager: Manager, predictor: Predictor, metrics: Metrics, version: str) -> None:
        """`version` is this server's own."""
        self._manager = manager
        self._predictor = predictor
        self._metrics = metrics
        self._version = version

    async def ServerLive(self, _request: Any, _: Call) -> Any:  # noqa: N802
        """Whether the process answers."""
        return message("ServerLiveResponse")(live=True)

    async def ServerReady(self, _request: Any, _: Call) -> Any:  # noqa: N802
        """Whether all models that should be served are."""
        return message("ServerReadyResponse")(ready=self._manager.all_available())

    async def ModelReady(self, request: Any, _: Call) -> Any:  # noqa: N802
        """Whether a version, or any of the model's, answers."""
        ready = True
        try:
            with self._manager.lend(request.name, _number(request.version)):
                pass
        except ServingError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            ready = False
        return message("ModelReadyResponse")(ready=ready)

    async def ServerMetadata(self, _request: Any, _: Call) -> Any:  # noqa: N802
        """This server's name and version."""
        return message("ServerMetadataResponse")(**server_metadata(self._version))

    async def ModelMetadata(self, request: Any, _: Call) -> Any:  # noqa: N802
        """The tensors of the default signature."""
        with self._manager.lend(request.name, _number(request.version)) as (version, servable):
            return message("ModelMetadataResponse")(**model_metadata(version, servable))

    async def ModelInfer(self, request: Any, call: Call) -> Any:  # noqa: N802
        """Run a signature."""

        def decode(version: Version, servable: Servable) -> Decoded[Any]:
            return decode_infer(
                read_infer(request), servable, lambda *found: infer_response(version, found[0], request, found[1])
            )

        async def answer() -> Any:
            number = _number(request.model_version)
            return await self._predictor.answer(
                request.model_name, number, None, decode, call.timeout_ms(), request.ByteSize()
            )

        return await counted(self._manager, self._metrics, "ModelInfer", request.model_name, answer)

    def methods(self, refusal: Callable[[], ServingError | None]) -> Iterator[Method]:
        """The service's methods; `refusal` says why a prediction must not even wait, if so."""
        refused = refusing(self._metrics, "ModelInfer", refusal)
        for name in _METHODS:
            read, answer = message(f"{name}Request").FromString, getattr(self, name)
            yield Method(f"/{SERVICE}/{name}", read, answer, refusal=refused if name == "ModelInfer" else None)


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise invalid(f"the version must be a number, or empty for the newest, found {text[:40]!r}")
    return int(text)
