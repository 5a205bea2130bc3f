"""Classify, regress and multi-inference: what their signatures must look like, and their answers.

Such a signature takes serialized `tf.Example`s under the name `inputs`. A classification gives `classes` (labels),
`scores` or both, each of shape [batch, classes]; a regression gives `outputs`, of shape [batch] or [batch, 1].
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.protobufs import classification_pb2, regression_pb2
from model_server.runtime.savedmodel import DEFAULT_SIGNATURE, ModelInterface, Signature

INPUTS = "inputs"
_CLASSES, _SCORES, _OUTPUTS = "classes", "scores", "outputs"


class Method(enum.Enum):
    """`SignatureDef.method_name` of the two kinds."""

    CLASSIFY = "tensorflow/serving/classify"
    REGRESS = "tensorflow/serving/regress"

    @property
    def noun(self) -> str:
        """What TensorFlow Serving's messages call it."""
        return "classification" if self is Method.CLASSIFY else "regression"


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """One signature to run on examples. `outputs` are the names of those that the answer is made of."""

    method: Method
    signature: Signature
    outputs: tuple[str, ...]


def find_task(interface: ModelInterface, method: Method, name: str, *, check_method: bool = False) -> Task:
    """The task of signature `name` ("" for the default).

    `check_method` also asks for the signature's method name, which TensorFlow 2 writes as `predict` for all of them.
    Raises ServingError when the signature is not of the form that the method needs.
    """
    key = name or DEFAULT_SIGNATURE
    signature = interface.signatures.get(key)
    if signature is None:
        raise invalid(f"No signature was found with the name: {key}")
    if check_method and signature.method != method.value:
        raise invalid(f"Expected {method.noun} signature method_name to be {method.value}. Was: {signature.method}")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    described = interface.signature_defs[key]
    if method is Method.REGRESS:
        if len(signature.outputs) != 1:
            raise invalid("Expected one output Tensor.")
        _need(INPUTS in signature.inputs, f"No regression inputs found in SignatureDef: {described}")
        _need(_OUTPUTS in signature.outputs, f"No regression outputs found in SignatureDef: {described}")
        return Task(method, signature, (_OUTPUTS,))
    if len(signature.outputs) not in {1, 2}:
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    _need(INPUTS in signature.inputs, f"No classification inputs found in SignatureDef: {described}")
    outputs = tuple(output for output in (_CLASSES, _SCORES) if output in signature.outputs)
    _need(
        bool(outputs),
        f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
        f"Signature was: {described}",
    )
    return Task(method, signature, outputs)


def _need(holds: bool, message: str) -> None:
    if not holds:
        raise ServingError(Code.FAILED_PRECONDITION, message)


def find_tasks(interface: ModelInterface, request: Any, *, check_method: bool = False) -> list[Task]:
    """The tasks of a MultiInferenceRequest, in its order. Raises ServingError."""
    models: set[str] = set()
    tasks: dict[str, Task] = {}
    for entry in request.tasks:
        spec = entry.model_spec
        if not spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        models.add(spec.name)
        if len(models) > 1:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        key = spec.signature_name or DEFAULT_SIGNATURE
        if key in tasks:
            raise invalid(f"Duplicate evaluation of signature: {key}")
        if key not in interface.signatures:
            raise invalid(f"Requested signature not found in model graph: {key}")
        if entry.method_name not in {method.value for method in Method}:
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {entry.method_name}")
        tasks[key] = find_task(interface, Method(entry.method_name), key, check_method=check_method)
    if len({task.signature.inputs[INPUTS].tensor for task in tasks.values()}) > 1:
        raise invalid("Input tensor must be the same for all Signatures.")
    return list(tasks.values())


def joined(tasks: Sequence[Task]) -> Signature:
    """One signature that computes the outputs of all `tasks` in one run; see `outputs_of`."""
    first = tasks[0].signature
    return Signature(
        name="+".join(task.signature.name for task in tasks),
        method=first.method,
        inputs={INPUTS: first.inputs[INPUTS]},
        outputs={f"{i}/{name}": task.signature.outputs[name] for i, task in enumerate(tasks) for name in task.outputs},
    )


def outputs_of(results: Mapping[str, Array], position: int) -> dict[str, Array]:
    """The outputs of the task at `position` among those of a `joined` signature."""
    prefix = f"{position}/"
    return {name.removeprefix(prefix): array for name, array in results.items() if name.startswith(prefix)}


def example_tensor(examples: Sequence[bytes]) -> dict[str, tuple[Array, DataType]]:
    """The input of a task: a vector of serialized examples."""
    array: Array = np.empty(len(examples), np.object_)
    array[:] = examples
    return {INPUTS: (array, DataType.STRING)}


def classes_of(outputs: Mapping[str, Array], rows: int) -> list[list[tuple[str, Any]]]:
    """For each example its (label, score) pairs: "" and 0.0 where the model gives none. Raises ServingError."""
    sizes = []
    for name, kind in ((_CLASSES, "O"), (_SCORES, "f")):
        if name not in outputs:
            continue
        array = outputs[name]
        if array.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
        if array.dtype.kind != kind or array.dtype == np.float64:
            wanted = "DT_STRING" if kind == "O" else "DT_FLOAT"
            raise invalid(f"Expected {name} Tensor of {wanted}. Got: {_type(array)}")
        if array.shape[0] != rows:
            raise invalid(f"Expected {name} output batch size of {rows}. Got: {array.shape[0]}")
        sizes.append(array.shape[1])
    if len(set(sizes)) > 1:
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {sizes[0]} vs. {sizes[1]}")
    labels = outputs[_CLASSES] if _CLASSES in outputs else np.full((rows, sizes[0]), b"", np.object_)
    scores = outputs[_SCORES] if _SCORES in outputs else np.zeros((rows, sizes[0]), np.float32)
    return [
        [(label.decode("utf-8", "replace"), score) for label, score in zip(names, values, strict=True)]
        for names, values in zip(labels, scores, strict=True)
    ]


def values_of(outputs: Mapping[str, Array], rows: int) -> Array:
    """A regression's value for each example: a vector of floats. Raises ServingError."""
    array = outputs[_OUTPUTS]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}"
        )
    if array.shape[0] != rows:
        raise invalid(f"Input batch size did not match output batch size: {rows} vs. {array.shape[0]}")
    if array.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type(array)}")
    return array.reshape(rows)


def classification_result(outputs: Mapping[str, Array], rows: int) -> Any:
    """A ClassificationResult. Raises ServingError when the outputs are not of its form."""
    result = classification_pb2.ClassificationResult()
    for pairs in classes_of(outputs, rows):
        classes = result.classifications.add().classes
        for label, score in pairs:
            classes.add(label=label, score=score)
    return result


def regression_result(outputs: Mapping[str, Array], rows: int) -> Any:
    """A RegressionResult. Raises ServingError when the outputs are not of its form."""
    result = regression_pb2.RegressionResult()
    for value in values_of(outputs, rows).tolist():
        result.regressions.add(value=value)
    return result


def _shape(array: Array) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _type(array: Array) -> str:
    return next((f"DT_{dtype.name}" for dtype in DataType if dtype.numpy == array.dtype), str(array.dtype))
