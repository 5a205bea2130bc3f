"""Answers classify, regress and multi-inference requests of both protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from model_server.runtime.batching import Arrays
from model_server.runtime.examples import parse_examples, serialized_examples
from model_server.runtime.inference import (
    Method,
    Task,
    classes_of,
    classification_result,
    example_tensor,
    find_task,
    find_tasks,
    joined,
    outputs_of,
    regression_result,
    values_of,
)
from model_server.runtime.json_codec import dump
from model_server.runtime.manager import Manager, Version
from model_server.runtime.monitoring import Metrics
from model_server.runtime.predictor import Predictor, version_choice
from model_server.runtime.protobufs import classification_pb2, inference_pb2, regression_pb2
from model_server.runtime.savedmodel import Signature
from model_server.runtime.servable import Servable, check_inputs

_T = TypeVar("_T")
_APIS = {Method.CLASSIFY: "Classify", Method.REGRESS: "Regress"}


class ExamplePredictor:
    """Finds the tasks of a request, runs them in one go over its examples, and writes the answer."""

    def __init__(self, manager: Manager, predictor: Predictor, metrics: Metrics, *, check_method: bool) -> None:
        """`check_method` refuses signatures whose method name is not that of the API."""
        self._manager = manager
        self._predictor = predictor
        self._metrics = metrics
        self._check_method = check_method

    async def json(
        self, method: Method, model: str, number: int | None, label: str | None, body: bytes, timeout_ms: int
    ) -> bytes:
        """The answer to the body of a REST request; `timeout_ms` 0 waits for ever. Raises ServingError."""
        with self._manager.lend(model, number, label) as (version, servable):

            def decode() -> tuple[list[Task], list[bytes]]:
                request = parse_examples(body)
                return [self._task(servable, method, request.signature_name)], request.examples

            def encode(tasks: Sequence[Task], results: Arrays, rows: int) -> bytes:
                outputs = outputs_of(results, 0)
                content: Any = classes_of(outputs, rows) if method is Method.CLASSIFY else values_of(outputs, rows)
                finite = all(bool(np.isfinite(array).all()) for array in outputs.values() if array.dtype.kind == "f")
                return dump({"results": content}, finite=finite)

            return await self._run(version, servable, _APIS[method], decode, encode, timeout_ms)

    async def proto(self, method: Method, request: Any, timeout_ms: int) -> Any:
        """The ClassificationResponse or RegressionResponse to a request. Raises ServingError."""
        spec = request.model_spec
        with self._manager.lend(spec.name, *version_choice(spec)) as (version, servable):

            def decode() -> tuple[list[Task], list[bytes]]:
                return [self._task(servable, method, spec.signature_name)], serialized_examples(request.input)

            def encode(tasks: Sequence[Task], results: Arrays, rows: int) -> Any:
                outputs = outputs_of(results, 0)
                response: Any
                if method is Method.CLASSIFY:
                    result = classification_result(outputs, rows)
                    response = classification_pb2.ClassificationResponse(result=result)
                else:
                    response = regression_pb2.RegressionResponse(result=regression_result(outputs, rows))
                _name(response.model_spec, version, tasks[0])
                return response

            return await self._run(version, servable, _APIS[method], decode, encode, timeout_ms)

    async def multi(self, request: Any, timeout_ms: int) -> Any:
        """The MultiInferenceResponse to a MultiInferenceRequest. Raises ServingError."""
        spec = request.tasks[0].model_spec
        with self._manager.lend(spec.name, *version_choice(spec)) as (version, servable):

            def decode() -> tuple[list[Task], list[bytes]]:
                tasks = find_tasks(servable.interface, request, check_method=self._check_method)
                return tasks, serialized_examples(request.input)

            def encode(tasks: Sequence[Task], results: Arrays, rows: int) -> Any:
                response = inference_pb2.MultiInferenceResponse()
                for i, task in enumerate(tasks):
                    result = response.results.add()
                    _name(result.model_spec, version, task)
                    outputs = outputs_of(results, i)
                    if task.method is Method.CLASSIFY:
                        result.classification_result.CopyFrom(classification_result(outputs, rows))
                    else:
                        result.regression_result.CopyFrom(regression_result(outputs, rows))
                return response

            return await self._run(version, servable, "MultiInference", decode, encode, timeout_ms)

    def _task(self, servable: Servable, method: Method, name: str) -> Task:
        return find_task(servable.interface, method, name, check_method=self._check_method)

    async def _run(
        self,
        version: Version,
        servable: Servable,
        api: str,
        decode: Callable[[], tuple[list[Task], list[bytes]]],
        encode: Callable[[Sequence[Task], Arrays, int], _T],
        timeout_ms: int,
    ) -> _T:
        def prepare() -> tuple[Signature, Arrays, list[str], tuple[list[Task], int]]:
            tasks, examples = decode()
            signature = joined(tasks)
            inputs = check_inputs(signature, example_tensor(examples))
            self._metrics.examples(version.model, len(examples))
            return signature, inputs, list(signature.outputs), (tasks, len(examples))

        def finish(results: Arrays, context: tuple[list[Task], int]) -> _T:
            tasks, rows = context
            return encode(tasks, results, rows)

        return await self._predictor.run(version, servable, api, prepare, finish, timeout_ms)


def _name(spec: Any, version: Version, task: Task) -> None:
    spec.name = version.model
    spec.version.value = version.number
    spec.signature_name = task.signature.name
