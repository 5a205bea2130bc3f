"""A predict request over REST, as JSON or as `.npy`, and its answer in either form."""

from __future__ import annotations

from collections.abc import Callable

from model_server.runtime.batching import Arrays
from model_server.runtime.dtypes import DataType, float32_from
from model_server.runtime.errors import invalid
from model_server.runtime.json_codec import Form, decode_inputs, encode_outputs, parse_predict
from model_server.runtime.manager import Version
from model_server.runtime.npy import is_npy, read_npy, write_npy
from model_server.runtime.open_inference import Decoded
from model_server.runtime.savedmodel import DEFAULT_SIGNATURE, Signature
from model_server.runtime.servable import Servable, check_inputs


def predict_request(
    body: bytes, content_type: str, *, npy_answer: bool
) -> Callable[[Version, Servable], Decoded[bytes]]:
    """What reads this body for a servable. It raises ServingError, naming what is wrong."""

    def decode(_: Version, servable: Servable) -> Decoded[bytes]:
        if is_npy(content_type, body):
            signature, form = _signature(servable, ""), Form.ROW
            name = _only_input(signature)
            inputs = {name: read_npy(name, body)}
        else:
            request = parse_predict(body)
            signature, form = _signature(servable, request.signature_name), request.form
            inputs = decode_inputs(request, signature.inputs)
        if npy_answer:
            _need_one_array(signature)
        return (
            signature,
            check_inputs(signature, inputs),
            list(signature.outputs),
            lambda found: encode(signature, form, found),
        )

    def encode(signature: Signature, form: Form, outputs: Arrays) -> bytes:
        if npy_answer:
            ((name, array),) = outputs.items()
            # NumPy has halves, but no bfloat16.
            bfloat16 = signature.outputs[name].dtype is DataType.BFLOAT16
            return write_npy(float32_from(array, DataType.BFLOAT16) if bfloat16 else array)
        floats = {name: float32_from(array, signature.outputs[name].dtype) for name, array in outputs.items()}
        return encode_outputs(floats, form)

    return decode


def _signature(servable: Servable, name: str) -> Signature:
    found = servable.interface.signatures.get(name or DEFAULT_SIGNATURE)
    if found is None:
        raise invalid(f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def')
    return found


def _only_input(signature: Signature) -> str:
    if len(signature.inputs) != 1:
        raise invalid(
            f'signature "{signature.name}" takes {len(signature.inputs)} inputs: {", ".join(signature.inputs)}; a .npy '
            "file holds one, send JSON or use gRPC"
        )
    return next(iter(signature.inputs))


def _need_one_array(signature: Signature) -> None:
    if len(signature.outputs) != 1:
        raise invalid(
            f'signature "{signature.name}" gives {len(signature.outputs)} outputs: {", ".join(signature.outputs)}; a '
            ".npy file holds one, ask for application/json"
        )
    for name, spec in signature.outputs.items():
        if spec.dtype is DataType.STRING:
            raise invalid(
                f'output "{name}" is of type string, which .npy holds as pickles only: ask for application/json'
            )
