"""From a decoded request to its outputs: which thread does what, with or without batching."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar, cast

from model_server.runtime.admission import Admission
from model_server.runtime.batching import Arrays, Batcher, is_batchable
from model_server.runtime.errors import Code, ServingError
from model_server.runtime.images import Pictures, encode_classes, need_picture_signature
from model_server.runtime.manager import Manager, Version
from model_server.runtime.monitoring import Metrics
from model_server.runtime.open_inference import Decoded, decode_infer, encode_infer, parse_infer
from model_server.runtime.protobufs import predict_pb2
from model_server.runtime.savedmodel import Signature
from model_server.runtime.servable import Servable, check_inputs, select_outputs
from model_server.runtime.tensor_proto import array_from_proto, proto_from_array

_T = TypeVar("_T")


class Predictor:
    """Answers predict requests of both protocols.

    Decoding, the graph's run and encoding of one request happen in one worker thread, in one go. With batching they are
    three steps, and the one in the middle is shared with others.
    """

    def __init__(
        self, manager: Manager, workers: Executor, metrics: Metrics, batcher: Batcher | None, admission: Admission
    ) -> None:
        self._manager = manager
        self._admission = admission
        self._workers = workers
        self._metrics = metrics
        self._batcher = batcher

    async def infer(self, model: str, number: int | None, body: bytes, timeout_ms: int) -> bytes:
        """The answer to an infer request of the Open Inference Protocol over REST. Raises ServingError."""

        def decode(version: Version, servable: Servable) -> Decoded[bytes]:
            request = parse_infer(body)
            return decode_infer(request, servable, lambda *found: encode_infer(version, found[0], request.id, found[1]))

        return await self.answer(model, number, None, decode, timeout_ms)

    async def answer(
        self,
        model: str,
        number: int | None,
        label: str | None,
        decode: Callable[[Version, Servable], Decoded[_T]],
        timeout_ms: int,
    ) -> _T:
        """The answer to a request of any form; `timeout_ms` 0 waits for ever. Raises ServingError.

        `decode`, in a worker thread, reads the request, and says by what its answer is made.
        """
        with self._manager.lend(model, number, label) as (version, servable):
            async with deadline(timeout_ms):
                return await self.run(
                    version,
                    servable,
                    "Predict",
                    lambda: decode(version, servable),
                    lambda outputs, encode: cast("_T", encode(outputs)),
                    timeout_ms,
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

            async with deadline(timeout_ms):
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

            async with deadline(timeout_ms):
                return await self.run(version, servable, "Predict", decode, encode, timeout_ms)

    async def run(
        self,
        version: Version,
        servable: Servable,
        api: str,
        decode: Callable[[], tuple[Signature, Arrays, list[str], Any]],
        encode: Callable[[Arrays, Any], _T],
        timeout_ms: int,
    ) -> _T:
        """The answer to one request of `api` on a servable that is lent to the caller. Raises ServingError.

        `decode` gives the signature, its inputs, the outputs to compute and what `encode` is called with beside them;
        both run in worker threads. What is past its deadline when its turn comes is not begun.
        """
        with self._admission.admit():
            return await self._admitted(version, servable, api, decode, encode, Deadline(timeout_ms))

    async def _admitted(
        self,
        version: Version,
        servable: Servable,
        api: str,
        decode: Callable[[], tuple[Signature, Arrays, list[str], Any]],
        encode: Callable[[Arrays, Any], _T],
        ends: Deadline,
    ) -> _T:
        if self._batcher is None:

            def whole() -> _T:
                ends.remaining_ms()
                signature, inputs, outputs, context = decode()
                return encode(
                    self._run(version, servable, api, signature, inputs, outputs, ends.remaining_ms()), context
                )

            return await self._in_worker(version, whole)

        signature, inputs, outputs, context = await self._in_worker(version, decode)
        if is_batchable(signature):
            version.hold()
            results = await self._batcher.run(
                (servable, signature.name, tuple(outputs)),
                inputs,
                # A batch has no deadline of its own: its requests have different ones.
                lambda merged: self._run(version, servable, api, signature, merged, outputs, 0),
                version.release,
            )
        else:
            results = await self._in_worker(
                version,
                lambda: self._run(version, servable, api, signature, inputs, outputs, ends.remaining_ms()),
            )
        return await self._in_worker(version, lambda: encode(results, context))

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
        start = time.perf_counter()
        results = servable.run(signature, inputs, outputs, timeout_ms)
        self._metrics.ran(version.model, api, (time.perf_counter() - start) * 1e6)
        return results

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


class Deadline:
    """The moment at which an answer is of no use any more."""

    def __init__(self, timeout_ms: int) -> None:
        """`timeout_ms` from now; 0 is never."""
        self._end = time.monotonic() + timeout_ms / 1000 if timeout_ms else None

    def remaining_ms(self) -> int:
        """What is left, at least 1; 0 when there is no end. Raises ServingError when nothing is."""
        if self._end is None:
            return 0
        left = self._end - time.monotonic()
        if left <= 0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for the prediction")
        return max(1, int(left * 1000))


class deadline:  # noqa: N801 - reads as a function where it is used
    """`asyncio.timeout`, ending in DEADLINE_EXCEEDED."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout = asyncio.timeout(timeout_ms / 1000 if timeout_ms else None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        try:
            await self._timeout.__aexit__(*exc)
        except TimeoutError as error:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for the prediction") from error
