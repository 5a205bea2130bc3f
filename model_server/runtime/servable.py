"""One loaded version of a model: load it, warm it up, run it, unload it."""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_server.runtime import protobufs
from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.examples import serialized_examples
from model_server.runtime.images import read_class_names
from model_server.runtime.inference import Method, example_tensor, find_task, find_tasks, joined
from model_server.runtime.picture_sizes import check_pictures
from model_server.runtime.run_times import RunTimes
from model_server.runtime.runs import MOST_REPLACED
from model_server.runtime.savedmodel import ModelInterface, Signature, read_interface
from model_server.runtime.tensor_proto import array_from_proto
from model_server.runtime.tensorflow_c import Output, RunOptions, Session, Tensor, array_from, tensor_from
from model_server.runtime.warmup import read_warmup, warmup_path

# A signature with many outputs has as many filters as permutations: a client must not fill the memory with them.
_CALLS_KEPT = 256


class Pool(enum.IntEnum):
    """TensorFlow's pools of threads between operations, one of each for the whole process.

    A graph that loops keeps a thread of its pool. So loading has one of its own, and so have requests that come while
    others take long. CALLER is no pool: the calling thread runs the whole graph. Without a change of threads that is
    faster for a small one, but there TensorFlow keeps no timeout.
    """

    CALLER = -1
    REQUESTS = 0
    SPARE = 1
    LOADING = 2


@dataclasses.dataclass(frozen=True, slots=True)
class LoadOptions:
    """How SavedModels are loaded. Parallelism is a number of threads, 0 for TensorFlow's own choice.

    `warmup_timeout_ms` bounds the run of each warm-up record; 0 does not.
    """

    tags: Sequence[str] = ("serve",)
    intra_op_parallelism: int = 0
    inter_op_parallelism: int = 0
    warmup: bool = True
    warmup_iterations: int = 1
    warmup_timeout_ms: int = 0

    def session_config(self) -> bytes:
        """The serialized ConfigProto for a session."""
        config = protobufs.ConfigProto(
            intra_op_parallelism_threads=self.intra_op_parallelism,
            inter_op_parallelism_threads=self.inter_op_parallelism,
        )
        for pool in (Pool.REQUESTS, Pool.SPARE, Pool.LOADING):
            threads = self.inter_op_parallelism
            if pool is Pool.SPARE and threads:
                threads = max(threads, MOST_REPLACED)
            # Sessions share what has the same name, which must not differ in size.
            config.session_inter_op_thread_pool.add(num_threads=threads, global_name=f"{pool.name}-{threads}")
        serialized: bytes = config.SerializeToString()
        return serialized


@dataclasses.dataclass(frozen=True, slots=True)
class _Call:
    """What is the same in every run of a signature for the same outputs."""

    signature: Signature
    outputs: tuple[str, ...]
    inputs: tuple[tuple[str, DataType], ...]
    feeds: ctypes.Array[Output]
    fetches: ctypes.Array[Output]


class PreparedRun:
    """One run of a graph, whose inputs lie in TensorFlow's memory: `run` once, then ask for the `outputs`."""

    __slots__ = ("_call", "_inputs", "_options", "_results", "_session", "seconds")

    def __init__(self, session: Session, call: _Call, inputs: list[Tensor], options: RunOptions | None) -> None:
        self._session = session
        self._call = call
        self._inputs = inputs
        self._options = options
        # How long the graph has run.
        self.seconds = 0.0
        self._results: list[Tensor] = []

    def run(self) -> None:
        """Run the graph. Raises ServingError with TensorFlow's code and message."""
        start = time.perf_counter()
        self._results = self._session.run(self._call.feeds, self._inputs, self._call.fetches, self._options)
        self.seconds = time.perf_counter() - start

    def outputs(self) -> dict[str, Array]:
        """What was asked for, by name."""
        return dict(zip(self._call.outputs, [array_from(tensor) for tensor in self._results], strict=True))


class Servable:
    """A SavedModel in memory. `run` may be called from several threads at once, but not after `close`."""

    def __init__(self, directory: Path, options: LoadOptions) -> None:
        """Load `directory`; warm-up is a step of its own. Raises ServingError."""
        self.directory = directory
        self.interface: ModelInterface = read_interface(directory, options.tags)
        loading = _run_options(0, Pool.LOADING)
        self._session = Session(str(directory), options.tags, options.session_config(), loading)
        self.class_names = read_class_names(directory)
        self.times = RunTimes()
        self._calls: dict[tuple[str, ...], _Call] = {}

    def warm_up(self, options: LoadOptions) -> int:
        """Replay the requests stored beside the model; returns how many.

        Raises ServingError when one fails: the version must not become available then.
        """
        count = 0
        for record in read_warmup(self.directory):
            where = f"record {count} of {warmup_path(self.directory)}"
            signature, arrays, outputs = self._recorded(record, where)
            for _ in range(options.warmup_iterations):
                self._warm_run(signature, arrays, outputs, options.warmup_timeout_ms, where)
            count += 1
        return count

    def _warm_run(
        self, signature: Signature, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_ms: int, where: str
    ) -> None:
        try:
            self.run(signature, inputs, outputs, timeout_ms, Pool.LOADING)
        except ServingError as error:
            if error.code is not Code.DEADLINE_EXCEEDED or not timeout_ms:
                raise
            raise ServingError(
                error.code,
                f'{where} is not answered by signature "{signature.name}" within --max_timeout_in_ms={timeout_ms}: its '
                "graph loops for ever, or is too slow to serve",
            ) from error

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
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        timeout_ms: int = 0,
        pool: Pool = Pool.REQUESTS,
    ) -> dict[str, Array]:
        """The named `outputs` for `inputs`, whose types and shapes must already fit (see `check_inputs`).

        `timeout_ms` bounds the graph's run, 0 does not. Raises ServingError with TensorFlow's code and message.
        """
        prepared = self.prepare(signature, inputs, outputs, timeout_ms, pool)
        prepared.run()
        return prepared.outputs()

    def prepare(
        self, signature: Signature, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_ms: int, pool: Pool
    ) -> PreparedRun:
        """As `run`, up to the run itself."""
        call = self._call(signature, outputs)
        tensors = [tensor_from(inputs[name], dtype) for name, dtype in call.inputs]
        return PreparedRun(self._session, call, tensors, _run_options(timeout_ms, pool))

    def _call(self, signature: Signature, outputs: Sequence[str]) -> _Call:
        key = (signature.name, *outputs)
        found = self._calls.get(key)
        # Signatures that are made for one request only may share their name (see `joined`).
        if found is None or found.signature is not signature:
            inputs = signature.inputs.values()
            found = _Call(
                signature,
                tuple(outputs),
                tuple((spec.name, spec.dtype) for spec in inputs),
                self._session.outputs([spec.tensor for spec in inputs]),
                self._session.outputs([signature.outputs[name].tensor for name in outputs]),
            )
            if len(self._calls) < _CALLS_KEPT:
                self._calls[key] = found
        return found

    def close(self) -> None:
        """Free the model. Nobody may be running it."""
        self._session.close()


@functools.lru_cache(4096)
def _run_options(timeout_ms: int, pool: Pool) -> RunOptions | None:
    # None also where a default would do: a run without options is begun in the calling thread, 7 µs sooner.
    if not timeout_ms and pool is Pool.REQUESTS:
        return None
    options = protobufs.RunOptions(timeout_in_ms=timeout_ms, inter_op_thread_pool=pool)
    return RunOptions(options.SerializeToString())


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
    if inputs.keys() != signature.inputs.keys():
        sent, known = set(inputs), set(signature.inputs)
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
        if dtype is DataType.STRING:
            check_pictures(name, array)
    return {name: array for name, (array, _) in inputs.items()}
