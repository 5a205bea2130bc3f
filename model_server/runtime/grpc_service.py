"""TensorFlow Serving's gRPC services.

Method names are those of the protos. Requests are `Any`: the generated modules are untyped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.example_predictor import ExamplePredictor
from model_server.runtime.http2.call import Call, Method
from model_server.runtime.inference import Method as Task
from model_server.runtime.manager import Manager
from model_server.runtime.monitoring import Metrics
from model_server.runtime.predictor import Predictor, version_choice
from model_server.runtime.protobufs import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from model_server.runtime.source import ModelSource
from model_server.runtime.status_proto import SIGNATURE_DEF, metadata_response, status_response
from model_server.turns import in_task

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_PREDICTION = "tensorflow.serving.PredictionService"
_MODEL = "tensorflow.serving.ModelService"


def refusing(
    metrics: Metrics, api: str, refusal: Callable[[], ServingError | None]
) -> Callable[[], ServingError | None]:
    """`refusal`, counted. Of which model the call is, nobody has looked at by then."""

    def refused() -> ServingError | None:
        error = refusal()
        if error is not None:
            metrics.request("", api, "GRPC", error.code, 0)
        return error

    return refused


async def counted(manager: Manager, metrics: Metrics, api: str, model: str, answer: Callable[[], Awaitable[_T]]) -> _T:
    """What `answer` gives, or its error; counted either way."""
    start, code = time.perf_counter(), Code.OK
    try:
        return await answer()
    except ServingError as error:
        code = error.code
        raise
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

    async def Predict(self, request: Any, call: Call) -> Any:  # noqa: N802
        """Run a signature."""

        def answer() -> Awaitable[Any]:
            _need_spec(request)
            return self._predictor.predict_proto(request, call.timeout_ms(), as_content=self._as_content)

        return await self._counted("Predict", request.model_spec.name, answer)

    async def Classify(self, request: Any, call: Call) -> Any:  # noqa: N802
        """Run a classification signature on examples."""

        def answer() -> Awaitable[Any]:
            _need_spec(request)
            return self._examples.proto(Task.CLASSIFY, request, call.timeout_ms())

        return await self._counted("Classify", request.model_spec.name, answer)

    async def Regress(self, request: Any, call: Call) -> Any:  # noqa: N802
        """Run a regression signature on examples."""

        def answer() -> Awaitable[Any]:
            _need_spec(request)
            return self._examples.proto(Task.REGRESS, request, call.timeout_ms())

        return await self._counted("Regress", request.model_spec.name, answer)

    async def MultiInference(self, request: Any, call: Call) -> Any:  # noqa: N802
        """Run several signatures of one model on the same examples."""

        def answer() -> Awaitable[Any]:
            if not request.tasks:
                raise invalid("ModelSpec has no name specified.")
            return self._examples.multi(request, call.timeout_ms())

        model = request.tasks[0].model_spec.name if request.tasks else ""
        return await self._counted("MultiInference", model, answer)

    async def _counted(self, api: str, model: str, answer: Callable[[], Awaitable[Any]]) -> Any:
        return await counted(self._manager, self._metrics, api, model, answer)

    async def GetModelMetadata(self, request: Any, _: Call) -> Any:  # noqa: N802
        """The signatures of a loaded version."""
        _need_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        other = next((field for field in request.metadata_field if field != SIGNATURE_DEF), None)
        if other is not None:
            raise invalid(f"Metadata field {other} is not supported")
        with self._manager.lend(request.model_spec.name, *version_choice(request.model_spec)) as (version, servable):
            return metadata_response(version, servable)

    def methods(self, refusal: Callable[[], ServingError | None]) -> Iterator[Method]:
        """The service's methods; `refusal` says why a prediction must not even wait, if so."""
        for answer, request in (
            (self.Predict, predict_pb2.PredictRequest),
            (self.Classify, classification_pb2.ClassificationRequest),
            (self.Regress, regression_pb2.RegressionRequest),
            (self.MultiInference, inference_pb2.MultiInferenceRequest),
        ):
            api = answer.__name__
            refused = refusing(self._metrics, api, refusal)
            yield Method(f"/{_PREDICTION}/{api}", request.FromString, answer, refusal=refused)
        read = get_model_metadata_pb2.GetModelMetadataRequest.FromString
        yield Method(f"/{_PREDICTION}/GetModelMetadata", read, self.GetModelMetadata)


class ModelService:
    """`tensorflow.serving.ModelService`."""

    def __init__(self, manager: Manager, source: ModelSource) -> None:
        self._manager = manager
        self._source = source

    async def GetModelStatus(self, request: Any, _: Call) -> Any:  # noqa: N802
        """The states of a model's versions."""
        _need_spec(request)
        number, label = version_choice(request.model_spec)
        if label is not None:
            number = self._manager.number_of(request.model_spec.name, label)
        return status_response(self._manager.versions(request.model_spec.name, number))

    async def HandleReloadConfigRequest(self, request: Any, _: Call) -> Any:  # noqa: N802
        """Serve other models: returns when those that are new have loaded."""
        await in_task()
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
            raise
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def methods(self) -> Iterator[Method]:
        """The service's methods."""
        read = get_model_status_pb2.GetModelStatusRequest.FromString
        yield Method(f"/{_MODEL}/GetModelStatus", read, self.GetModelStatus)
        read = model_management_pb2.ReloadConfigRequest.FromString
        yield Method(f"/{_MODEL}/HandleReloadConfigRequest", read, self.HandleReloadConfigRequest)


def _need_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
