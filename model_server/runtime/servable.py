"""One loaded version of a model: load it, warm it up, run it, unload it."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.examples import serialized_examples
from model_server.runtime.images import read_class_names
from model_server.runtime.inference import Method, example_tensor, find_task, find_tasks, joined
from model_server.runtime.protobufs import ConfigProto, RunOptions
from model_server.runtime.savedmodel import ModelInterface, Signature, read_interface
from model_server.runtime.tensor_proto import array_from_proto
from model_server.runtime.tensorflow_c import Output, Session, Tensor
from model_server.runtime.warmup import read_warmup, warmup_path

# A signature with many outputs has as many filters as permutations: a client must not fill the memory with them.
_ENDPOINTS_KEPT = 256


@dataclasses.dataclass(frozen=True, slots=True)
class LoadOptions:
    """How SavedModels are loaded. Parallelism is a number of threads, 0 for TensorFlow's own choice."""

    tags: Sequence[str] = ("serve",)
    intra_op_parallelism: int = 0
    inter_op_parallelism: int = 0
    warmup: bool = True
    warmup_iterations: int = 1

    def session_config(self) -> bytes:
        """The serialized ConfigProto for a session."""
        config: bytes = ConfigProto(
            intra_op_parallelism_threads=self.intra_op_parallelism,
            inter_op_parallelism_threads=self.inter_op_parallelism,
        ).SerializeToString()
        return config


class Servable:
    """A SavedModel in memory. `run` may be called from several threads at once, but not after `close`."""

    def __init__(self, directory: Path, options: LoadOptions) -> None:
        """Load `directory`; warm-up is a step of its own. Raises ServingError."""
        self.directory = directory
        self.interface: ModelInterface = read_interface(directory, options.tags)
        self._session = Session(str(directory), options.tags, options.session_config())
        self.class_names = read_class_names(directory)
        self._endpoints: dict[tuple[str, ...], ctypes.Array[Output]] = {}

    def warm_up(self, options: LoadOptions) -> int:
        """Replay the requests stored beside the model; returns how many.

        Raises ServingError when one fails: the version must not become available then.
        """
        count = 0
        for record in read_warmup(self.directory):
            signature, arrays, outputs = self._recorded(record, f"record {count} of {warmup_path(self.directory)}")
            for _ in range(options.warmup_iterations):
                self.run(signature, arrays, outputs)
            count += 1
        return count

    def _recorded(self, record: Any, where: str) -> tuple[Signature, dict[str, Array], list[str]]:
        kind = record.WhichOneof("log_type")
        match kind:
            case "predict_log":
                request = record.predict_log.request
                signature = self.interface.signature(request.model_spec.signature_name)
                given = {name: array_from_proto(name, proto) for name, proto in request.inputs.items()}
                outputs = select_outputs(signature, list(request.output_filter))
                return signature, check_inputs(signature, given), outputs
            case "classify_log":
                request = record.classify_log.request
                tasks = [find_task(self.interface, Method.CLASSIFY, request.model_spec.signature_name)]
            case "regress_log":
                request = record.regress_log.request
                tasks = [find_task(self.interface, Method.REGRESS, request.model_spec.signature_name)]
            case "multi_inference_log":
                request = record.multi_inference_log.request
                tasks = find_tasks(self.interface, request)
            case _:
                raise ServingError(
                    Code.UNIMPLEMENTED,
                    f"Unsupported log_type for warmup: {kind} ({where}); write predict, classify, regress or "
                    "multi-inference logs",
                )
        signature = joined(tasks)
        inputs = check_inputs(signature, example_tensor(serialized_examples(request.input)))
        return signature, inputs, list(signature.outputs)

    def run(
        self, signature: Signature, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_ms: int = 0
    ) -> dict[str, Array]:
        """The named `outputs` for `inputs`, whose types and shapes must already fit (see `check_inputs`).

        `timeout_ms` bounds the graph's run, 0 does not. Raises ServingError with TensorFlow's code and message.
        """
        names = sorted(inputs)
        feeds = self._resolve(tuple(signature.inputs[name].tensor for name in names))
        fetches = self._resolve(tuple(signature.outputs[name].tensor for name in outputs))
        tensors = [Tensor.from_numpy(inputs[name], signature.inputs[name].dtype) for name in names]
        options = RunOptions(timeout_in_ms=timeout_ms).SerializeToString() if timeout_ms else None
        results = self._session.run(feeds, tensors, fetches, options)
        return {name: tensor.numpy() for name, tensor in zip(outputs, results, strict=True)}

    def _resolve(self, names: tuple[str, ...]) -> ctypes.Array[Output]:
        found = self._endpoints.get(names)
        if found is None:
            found = self._session.outputs(names)
            if len(self._endpoints) < _ENDPOINTS_KEPT:
                self._endpoints[names] = found
        return found

    def close(self) -> None:
        """Free the model. Nobody may be running it."""
        self._session.close()


def select_outputs(signature: Signature, wanted: Sequence[str]) -> list[str]:
    """The outputs to compute: those of the client's filter, or all.

    Raises ServingError for a name that is unknown or given twice.
    """
    seen: set[str] = set()
    for name in wanted:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                f"{{{','.join(sorted(signature.outputs))}}}."
            )
        if name in seen:
            raise invalid(f"duplicate output tensor alias: {name}")
        seen.add(name)
    return list(wanted) or list(signature.outputs)


def check_inputs(signature: Signature, inputs: Mapping[str, tuple[Array, DataType]]) -> dict[str, Array]:
    """The arrays of a request, when they are exactly the signature's inputs in type and shape.

    TensorFlow itself reports a wrong shape from deep inside the graph, without the input's name; a batch would fail
    for everybody in it. Raises ServingError.
    """
    sent, known = set(inputs), set(signature.inputs)
    if sent != known:
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} len({{{','.join(sorted(sent))}}}) != "
            f"len({{{','.join(sorted(known))}}}). Sent extra: {{{','.join(sorted(sent - known))}}}. "
            f"Missing but required: {{{','.join(sorted(known - sent))}}}."
        )
    for name, (array, dtype) in inputs.items():
        spec = signature.inputs[name]
        if dtype is not spec.dtype:
            raise invalid(f'input "{name}": expected type {spec.dtype.label}, found {dtype.label}')
        if not spec.fits(array.shape):
            found = f"[{','.join(map(str, array.shape))}]"
            raise invalid(f'input "{name}": expected shape {spec.describe_shape()}, found {found}')
    return {name: array for name, (array, _) in inputs.items()}
