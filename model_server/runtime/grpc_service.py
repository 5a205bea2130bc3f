"""TensorFlow Serving's gRPC services, on grpc.aio.

Method names are those of the protos. Requests and contexts are `Any`: the generated modules are untyped.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc

from model_server.runtime.errors import Code, OverloadedError, ServingError, invalid
from model_server.runtime.example_predictor import ExamplePredictor
from model_server.runtime.inference import Method
from model_server.runtime.manager import Manager
from model_server.runtime.monitoring import Metrics
from model_server.runtime.predictor import Predictor, version_choice
from model_server.runtime.protobufs import model_management_pb2
from model_server.runtime.source import ModelSource
from model_server.runtime.status_proto import SIGNATURE_DEF, metadata_response, status_response

_LOG = logging.getLogger(__name__)
_STATUS_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_MESSAGE_LIMIT = 1024


async def abort(context: Any, error: ServingError) -> NoReturn:
    """End a call with this error."""
    message = str(error)
    if len(message) > _MESSAGE_LIMIT:
        message = message[:_MESSAGE_LIMIT] + "...TRUNCATED"
    if isinstance(error, OverloadedError):
        # What clients with a retry policy understand as "not before so many milliseconds".
        context.set_trailing_metadata((("grpc-retry-pushback-ms", str(error.retry_seconds * 1000)),))
    await context.abort(_STATUS_CODES[error.code], message)
    raise error  # abort has raised already


async def counted(
    manager: Manager, metrics: Metrics, api: str, model: str, context: Any, answer: Callable[[], Awaitable[Any]]
) -> Any:
    """What `answer` gives, or its error as the call's end; counted either way."""
    start, code = time.perf_counter(), Code.OK
    try:
        return await answer()
    except ServingError as error:
        code = error.code
        await abort(context, error)
    finally:
        # Names that no model ever had are not counted apart: anybody could fill the memory with them.
        known = model if manager.knows(model) else ""
        metrics.request(known, api, "GRPC", code, (time.perf_counter() - start) * 1e6)


class PredictionService:
    """`tensorflow.serving.PredictionService`."""

    def __init__(
        self,
        manager: Manager,
        predictor: Predictor,
        examples: ExamplePredictor,
        metrics: Metrics,
        *,
        as_content: bool,
    ) -> None:
        """`as_content` writes numbers as raw bytes instead of in their typed fields."""
        self._manager = manager
        self._predictor = predictor
        self._examples = examples
        self._metrics = metrics
        self._as_content = as_content

    async def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run a signature."""

        def answer() -> Awaitable[Any]:
            _need_spec(request)
            return self._predictor.predict_proto(request, timeout_ms(context), as_content=self._as_content)

        return await self._counted("Predict", request.model_spec.name, context, answer)

    async def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run a classification signature on examples."""

        def answer() -> Awaitable[Any]:
            _need_spec(request)
            return self._examples.proto(Method.CLASSIFY, request, timeout_ms(context))

        return await self._counted("Classify", request.model_spec.name, context, answer)

    async def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run a regression signature on examples."""

        def answer() -> Awaitable[Any]:
            _need_spec(request)
            return self._examples.proto(Method.REGRESS, request, timeout_ms(context))

        return await self._counted("Regress", request.model_spec.name, context, answer)

    async def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run several signatures of one model on the same examples."""

        def answer() -> Awaitable[Any]:
            if not request.tasks:
                raise invalid("ModelSpec has no name specified.")
            return self._examples.multi(request, timeout_ms(context))

        model = request.tasks[0].model_spec.name if request.tasks else ""
        return await self._counted("MultiInference", model, context, answer)

    async def _counted(self, api: str, model: str, context: Any, answer: Callable[[], Awaitable[Any]]) -> Any:
        return await counted(self._manager, self._metrics, api, model, context, answer)

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The signatures of a loaded version."""
        try:
            _need_spec(request)
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            other = next((field for field in request.metadata_field if field != SIGNATURE_DEF), None)
            if other is not None:
                raise invalid(f"Metadata field {other} is not supported")
            with self._manager.lend(request.model_spec.name, *version_choice(request.model_spec)) as (
                version,
                servable,
            ):
                return metadata_response(version, servable)
        except ServingError as error:
            await abort(context, error)


class ModelService:
    """`tensorflow.serving.ModelService`."""

    def __init__(self, manager: Manager, source: ModelSource) -> None:
        self._manager = manager
        self._source = source

    async def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The states of a model's versions."""
        try:
            _need_spec(request)
            number, label = version_choice(request.model_spec)
            if label is not None:
                number = self._manager.number_of(request.model_spec.name, label)
            return status_response(self._manager.versions(request.model_spec.name, number))
        except ServingError as error:
            await abort(context, error)

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Serve other models: returns when those that are new have loaded."""
        try:
            if request.metric_names:
                raise ServingError(
                    Code.UNIMPLEMENTED,
                    "this server does not report metrics in ReloadConfigResponse: leave metric_names empty and read "
                    "them from the path that --monitoring_config_file sets",
                )
            await self._source.replace(request.config)
        except ServingError as error:
            _LOG.error("ReloadConfig failed: %s", error)
            await abort(context, error)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response


def _need_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def timeout_ms(context: Any) -> int:
    """What the client's deadline leaves, 0 when it set none."""
    remaining = context.time_remaining()
    return 0 if remaining is None or remaining > 86400 else max(1, math.ceil(remaining * 1000))
