"""The Open Inference Protocol's gRPC messages, built from their fields as in its `open_inference_grpc.proto`.

No package on PyPI ships the generated modules alone. A test compiles the protocol's own file and compares.
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
_PACKAGE = "inference"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _FIELD.TYPE_BOOL,
    "bytes": _FIELD.TYPE_BYTES,
    "double": _FIELD.TYPE_DOUBLE,
    "float": _FIELD.TYPE_FLOAT,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "string": _FIELD.TYPE_STRING,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
}
# Each field as "type name", "repeated type name" or "map name" (from strings to InferParameter). They are numbered from
# 1 in this order. `InferParameter` is the only message whose fields exclude each other.
_PARAMETERS = "map parameters"
_TENSOR = ("string name", "string datatype", "repeated int64 shape")
_CONTENTS = (*_TENSOR, _PARAMETERS, "InferTensorContents contents")
_MODEL = ("string name", "string version")
_MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready",),
    "ModelReadyRequest": _MODEL,
    "ModelReadyResponse": ("bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (*_MODEL, "repeated string extensions"),
    "ModelMetadataRequest": _MODEL,
    "ModelMetadataResponse": (
        "string name",
        "repeated string versions",
        "string platform",
        "repeated ModelMetadataResponse.TensorMetadata inputs",
        "repeated ModelMetadataResponse.TensorMetadata outputs",
    ),
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "ModelInferRequest": (
        "string model_name",
        "string model_version",
        "string id",
        _PARAMETERS,
        "repeated ModelInferRequest.InferInputTensor inputs",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs",
        "repeated bytes raw_input_contents",
    ),
    "ModelInferRequest.InferInputTensor": _CONTENTS,
    "ModelInferRequest.InferRequestedOutputTensor": ("string name", _PARAMETERS),
    "ModelInferResponse": (
        "string model_name",
        "string model_version",
        "string id",
        _PARAMETERS,
        "repeated ModelInferResponse.InferOutputTensor outputs",
        "repeated bytes raw_output_contents",
    ),
    "ModelInferResponse.InferOutputTensor": _CONTENTS,
    "InferParameter": (
        "bool bool_param",
        "int64 int64_param",
        "string string_param",
        "double double_param",
        "uint64 uint64_param",
    ),
    "InferTensorContents": (
        "repeated bool bool_contents",
        "repeated int32 int_contents",
        "repeated int64 int64_contents",
        "repeated uint32 uint_contents",
        "repeated uint64 uint64_contents",
        "repeated float fp32_contents",
        "repeated double fp64_contents",
        "repeated bytes bytes_contents",
    ),
}


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_operator/model_server/open_inference.proto", package=_PACKAGE, syntax="proto3"
    )
    made: dict[str, Any] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        made[name] = message = (made[outer].nested_type if outer else file.message_type).add(name=inner)
        for number, field in enumerate(fields, 1):
            _add_field(message, f"{_PACKAGE}.{name}", number, field)
    choice = made["InferParameter"]
    choice.oneof_decl.add(name="parameter_choice")
    for field in choice.field:
        field.oneof_index = 0
    return file


def _add_field(message: Any, full_name: str, number: int, text: str) -> None:
    kind, _, name = text.rpartition(" ")
    label = _FIELD.LABEL_OPTIONAL
    if kind.startswith("repeated "):
        kind, label = kind.removeprefix("repeated "), _FIELD.LABEL_REPEATED
    if kind == "map":
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add_field(entry, "", 1, "string key")
        _add_field(entry, "", 2, "InferParameter value")
        message.field.add(
            name=name,
            number=number,
            label=_FIELD.LABEL_REPEATED,
            type=_FIELD.TYPE_MESSAGE,
            type_name=f".{full_name}.{entry.name}",
        )
        return
    scalar = _SCALARS.get(kind)
    field = message.field.add(name=name, number=number, label=label, type=scalar or _FIELD.TYPE_MESSAGE)
    if scalar is None:
        field.type_name = f".{_PACKAGE}.{kind}"


_POOL = descriptor_pool.DescriptorPool()
FILE = _file()
_POOL.Add(FILE)


@functools.cache
def message(name: str) -> Any:
    """The class of the message `name`, such as `ModelInferRequest`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
