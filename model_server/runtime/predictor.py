"""From a decoded request to its outputs: which thread does what, with or without batching."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar, cast

from model_server.runtime.admission import Admission
from model_server.runtime.batching import Arrays, Batcher, is_batchable
from model_server.runtime.deadline import Deadline
from model_server.runtime.images import Pictures, encode_classes, need_picture_signature
from model_server.runtime.manager import Manager, Version
from model_server.runtime.monitoring import Metrics
from model_server.runtime.open_inference import Decoded, InferAnswer, decode_infer, encode_infer, parse_infer
from model_server.runtime.predicted_classes import predicted_classes
from model_server.runtime.protobufs import predict_pb2
from model_server.runtime.runs import Runs
from model_server.runtime.savedmodel import Signature
from model_server.runtime.servable import Pool, Servable, check_inputs, select_outputs
from model_server.runtime.tensor_proto import array_from_proto, claimed_bytes, proto_from_array
from model_server.runtime.workers import Workers
from model_server.turns import Together, Turns, in_task

_T = TypeVar("_T")
_Decoded = tuple[Signature, Arrays, list[str], Any]
# Reading so much takes well under a millisecond, in any form.
_SMALL_BYTES = 64 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class _Read:
    """A request that was read, but not answered."""

    decoded: _Decoded

    def again(self) -> _Decoded:
        """What was read."""
        return self.decoded


def _kind(signature: Signature, inputs: Arrays, outputs: Sequence[str]) -> Hashable:
    """What makes two runs of a bounded signature take equally long."""
    return signature.name, *outputs, *[array.shape for array in inputs.values()]


class Predictor:
    """Answers predict requests of both protocols.

    Decoding, the graph's run and encoding of one request happen in one worker thread, in one go; or, where all three
    take less than changing threads, on the event loop's thread. With batching they are three steps, and the one in the
    middle is shared with others.
    """

    def __init__(
        self,
        manager: Manager,
        workers: Workers,
        metrics: Metrics,
        batcher: Batcher | None,
        admission: Admission,
        runs: Runs,
        turns: Turns,
        longest_ms: int,
        short_seconds: float,
    ) -> None:
        """`longest_ms` bounds every request, also one that may take longer or for ever; 0 does not.

        Runs that are known to take at most `short_seconds`, whatever their values, stay on the event loop's thread.
        """
        self._turns = turns
        self._short_seconds = short_seconds
        self._manager = manager
        self._runs = runs
        self._longest_ms = longest_ms
        self._admission = admission
        self._workers = workers
        self._metrics = metrics
        self._batcher = batcher

    async def infer(
        self, model: str, number: int | None, body: bytes, json_length: str | None, timeout_ms: int
    ) -> InferAnswer:
        """The answer to an infer request of the Open Inference Protocol over REST. Raises ServingError."""

        def decode(version: Version, servable: Servable) -> Decoded[InferAnswer]:
            request = parse_infer(body, json_length)
            return decode_infer(request, servable, lambda *found: encode_infer(version, found[0], request, found[1]))

        return await self.answer(model, number, None, decode, timeout_ms, len(body))

    async def answer(
        self,
        model: str,
        number: int | None,
        label: str | None,
        decode: Callable[[Version, Servable], Decoded[_T]],
        timeout_ms: int,
        size: int,
    ) -> _T:
        """The answer to a request of any form; `timeout_ms` 0 waits for ever. Raises ServingError.

        `decode` reads the request, of `size` bytes, and says by what its answer is made.
        """
        with self._manager.lend(model, number, label) as (version, servable):
            return await self.run(
                version,
                servable,
                "Predict",
                lambda: decode(version, servable),
                lambda outputs, encode: cast("_T", encode(outputs)),
                timeout_ms,
                size,
            )

    async def predict_pictures(
        self, model: str, number: int | None, label: str | None, pictures: Pictures, timeout_ms: int
    ) -> bytes:
        """The answer to pictures as they are; `timeout_ms` 0 waits for ever. Raises ServingError."""
        with self._manager.lend(model, number, label) as (version, servable):

            def decode() -> tuple[Signature, Arrays, list[str], None]:
                signature = need_picture_signature(servable.interface)
                return signature, check_inputs(signature, pictures.tensor(signature)), list(signature.outputs), None

            def encode(outputs: Arrays, _: None) -> bytes:
                return encode_classes(outputs, servable.class_names)

            return await self.run(version, servable, "Predict", decode, encode, timeout_ms)

    async def predict_proto(self, request: Any, timeout_ms: int, *, as_content: bool) -> Any:
        """The PredictResponse to a PredictRequest; `timeout_ms` 0 waits for ever. Raises ServingError."""
        spec = request.model_spec
        number, label = version_choice(spec)
        with self._manager.lend(spec.name, number, label) as (version, servable):

            def decode() -> tuple[Signature, Arrays, list[str], Any]:
                signature = servable.interface.signature(spec.signature_name)
                inputs = {name: array_from_proto(name, proto) for name, proto in request.inputs.items()}
                outputs = select_outputs(signature, list(request.output_filter))
                return signature, check_inputs(signature, inputs), outputs, signature

            def encode(outputs: Arrays, signature: Signature) -> Any:
                response = predict_pb2.PredictResponse()
                response.model_spec.name = spec.name
                response.model_spec.version.value = version.number
                response.model_spec.signature_name = signature.name
                for name, array in outputs.items():
                    proto = proto_from_array(array, signature.outputs[name].dtype, as_content=as_content)
                    response.outputs[name].CopyFrom(proto)
                return response

            size = request.ByteSize() + sum(map(claimed_bytes, request.inputs.values()))
            return await self.run(version, servable, "Predict", decode, encode, timeout_ms, size)

    async def run(
        self,
        version: Version,
        servable: Servable,
        api: str,
        decode: Callable[[], _Decoded],
        encode: Callable[[Arrays, Any], _T],
        timeout_ms: int,
        size: int | None = None,
    ) -> _T:
        """The answer to one request of `api` on a servable that is lent to the caller. Raises ServingError.

        `decode` gives the signature, its inputs, the outputs to compute and what `encode` is called with beside them.
        Both run in worker threads; or on the event loop's where the request is small (`size` in bytes; None says that
        reading it may take long) and its run is known to be short. What is past its deadline when its turn comes is
        not begun.
        """
        ends = Deadline(timeout_ms, self._longest_ms)
        short = self._batcher is None and servable.times.least <= self._short_seconds
        if short and size is not None and size <= _SMALL_BYTES:
            if self._turns.serving:
                found = await self._at_once(version, servable, api, decode, encode, ends)
            else:
                self._admission.check()
                found = await self._turns.take(lambda: self._at_once(version, servable, api, decode, encode, ends))
            if not isinstance(found, _Read):
                return found
            decode = found.again
        await in_task()
        with self._admission:
            async with ends:
                return await self._admitted(version, servable, api, decode, encode, ends)

    async def _at_once(
        self,
        version: Version,
        servable: Servable,
        api: str,
        decode: Callable[[], _Decoded],
        encode: Callable[[Arrays, Any], _T],
        ends: Deadline,
    ) -> _T | _Read:
        """The answer, from this thread; or what was read, where its run is not known to be short."""
        with self._admission:
            ends.remaining_ms()
            signature, inputs, outputs, context = read = decode()
            kind = _kind(signature, inputs, outputs)
            seconds = servable.times.seconds(kind)
            if seconds > self._short_seconds:
                return _Read(read)
            # Not among `runs`: who looks at those does so on this thread, when this run has ended.
            run = servable.prepare(signature, inputs, outputs, 0, Pool.CALLER)
            await Together(run.run, seconds)
            servable.times.add(kind, run.seconds)
            self._metrics.ran(version.model, api, run.seconds * 1e6)
            answer = self._answered(version, servable, run.outputs(), encode, context)
            ends.remaining_ms()
            return answer

    async def _admitted(
        self,
        version: Version,
        servable: Servable,
        api: str,
        decode: Callable[[], _Decoded],
        encode: Callable[[Arrays, Any], _T],
        ends: Deadline,
    ) -> _T:
        if self._batcher is None:

            def whole() -> _T:
                ends.remaining_ms()
                signature, inputs, outputs, context = decode()
                found = self._run(version, servable, api, signature, inputs, outputs, ends.remaining_ms())
                return self._answered(version, servable, found, encode, context)

            return await self._in_worker(version, whole)

        signature, inputs, outputs, context = await self._in_worker(version, decode)
        if is_batchable(signature):
            version.hold()
            results = await self._batcher.run(
                (servable, signature.name, tuple(outputs)),
                inputs,
                lambda merged, left_ms: self._run(version, servable, api, signature, merged, outputs, left_ms),
                version.release,
                ends,
            )
        else:
            results = await self._in_worker(
                version,
                lambda: self._run(version, servable, api, signature, inputs, outputs, ends.remaining_ms()),
            )
        return await self._in_worker(version, lambda: self._answered(version, servable, results, encode, context))

    def _answered(
        self, version: Version, servable: Servable, results: Arrays, encode: Callable[[Arrays, Any], _T], context: Any
    ) -> _T:
        """The answer of one request, whose predictions are counted: those of a batch with its padding are not."""
        answer = encode(results, context)
        self._metrics.predicted(version.model, predicted_classes(results, servable.class_names))
        return answer

    def _run(
        self,
        version: Version,
        servable: Servable,
        api: str,
        signature: Signature,
        inputs: Arrays,
        outputs: Sequence[str],
        timeout_ms: int,
    ) -> Arrays:
        under_way = self._runs.begin(version.model, version.number, signature.name, timeout_ms)
        try:
            pool = Pool.SPARE if self._runs.long else Pool.REQUESTS
            run = servable.prepare(signature, inputs, outputs, timeout_ms, pool)
            run.run()
        finally:
            self._runs.end(under_way)
        if signature.bounded:
            servable.times.add(_kind(signature, inputs, outputs), run.seconds)
        self._metrics.ran(version.model, api, run.seconds * 1e6)
        return run.outputs()

    async def _in_worker(self, version: Version, work: Callable[[], _T]) -> _T:
        version.hold()
        submitted = self._workers.submit(work)
        future = asyncio.wrap_future(submitted)
        future.add_done_callback(lambda _: version.release())
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            submitted.cancel()  # has an effect only while it still waits for a thread
            raise


def version_choice(model_spec: Any) -> tuple[int | None, str | None]:
    """The number or the label of a ModelSpec; both None for the latest version."""
    choice = model_spec.WhichOneof("version_choice")
    return (
        model_spec.version.value if choice == "version" else None,
        model_spec.version_label if choice == "version_label" else None,
    )
