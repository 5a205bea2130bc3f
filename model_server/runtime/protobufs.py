"""TensorFlow's and TensorFlow Serving's protos, without importing TensorFlow.

The generated modules lie inside the `tensorflow` package, whose `__init__` takes seconds and hundreds of megabytes.
While they are imported, a bare module with the package's path stands in for it; afterwards it is taken away again, so
that a process which also wants the real TensorFlow (a test) can still import it.

Message classes are `Any`: they are generated at run time and ship no types.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from model_server.runtime.errors import ServingError, invalid


def tensorflow_directory() -> Path:
    """The folder of the installed `tensorflow` package, also where its `__init__.py` was left out of an image."""
    spec = importlib.util.find_spec("tensorflow")
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / "libtensorflow_cc.so.2").exists():
            return Path(location)
    msg = "TensorFlow's libraries are not installed: install the `server` extra (tensorflow-cpu)"
    raise ModuleNotFoundError(msg)


@contextlib.contextmanager
def _bare_tensorflow() -> Iterator[None]:
    if "tensorflow" in sys.modules:
        yield
        return
    bare = types.ModuleType("tensorflow")
    bare.__path__ = [str(tensorflow_directory())]
    sys.modules["tensorflow"] = bare
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


def _import(name: str) -> Any:
    with _bare_tensorflow():
        return importlib.import_module(name)


_example = _import("tensorflow.core.example.example_pb2")
_feature = _import("tensorflow.core.example.feature_pb2")
_meta_graph = _import("tensorflow.core.protobuf.meta_graph_pb2")
_saved_model = _import("tensorflow.core.protobuf.saved_model_pb2")
_tensor = _import("tensorflow.core.framework.tensor_pb2")
_config = _import("tensorflow.core.protobuf.config_pb2")
_model_server_config = _import("tensorflow_serving.config.model_server_config_pb2")
classification_pb2: Any = _import("tensorflow_serving.apis.classification_pb2")
get_model_metadata_pb2: Any = _import("tensorflow_serving.apis.get_model_metadata_pb2")
get_model_status_pb2: Any = _import("tensorflow_serving.apis.get_model_status_pb2")
inference_pb2: Any = _import("tensorflow_serving.apis.inference_pb2")
model_management_pb2: Any = _import("tensorflow_serving.apis.model_management_pb2")
predict_pb2: Any = _import("tensorflow_serving.apis.predict_pb2")
prediction_log_pb2: Any = _import("tensorflow_serving.apis.prediction_log_pb2")
regression_pb2: Any = _import("tensorflow_serving.apis.regression_pb2")

Example: Any = _example.Example
Feature: Any = _feature.Feature
SavedModel: Any = _saved_model.SavedModel
SignatureDef: Any = _meta_graph.SignatureDef
TensorProto: Any = _tensor.TensorProto
ConfigProto: Any = _config.ConfigProto
RunOptions: Any = _config.RunOptions
ModelServerConfig: Any = _model_server_config.ModelServerConfig


def prediction_services() -> tuple[Any, Any]:
    """The generated modules `prediction_service_pb2_grpc` and `model_service_pb2_grpc`, for clients with grpcio."""
    return (
        _import("tensorflow_serving.apis.prediction_service_pb2_grpc"),
        _import("tensorflow_serving.apis.model_service_pb2_grpc"),
    )


# The wheel `tensorflow-serving-api` leaves out the protos of the server's own configuration files. These are their
# fields, numbers and types as in its `monitoring_config.proto`, `ssl_config.proto` and `session_bundle_config.proto`.
_FIELD = descriptor_pb2.FieldDescriptorProto
_INT64_VALUE = (_FIELD.TYPE_MESSAGE, ".google.protobuf.Int64Value")
_BOOL_VALUE = (_FIELD.TYPE_MESSAGE, ".google.protobuf.BoolValue")
_STRING_VALUE = (_FIELD.TYPE_MESSAGE, ".google.protobuf.StringValue")
_CONFIGURATION: dict[str, dict[str, tuple[int, tuple[Any, str]]]] = {
    "PrometheusConfig": {"enable": (1, (_FIELD.TYPE_BOOL, "")), "path": (2, (_FIELD.TYPE_STRING, ""))},
    "MonitoringConfig": {
        "prometheus_config": (1, (_FIELD.TYPE_MESSAGE, ".tensorflow.serving.PrometheusConfig")),
    },
    "SSLConfig": {
        "server_key": (1, (_FIELD.TYPE_STRING, "")),
        "server_cert": (2, (_FIELD.TYPE_STRING, "")),
        "custom_ca": (3, (_FIELD.TYPE_STRING, "")),
        "client_verify": (4, (_FIELD.TYPE_BOOL, "")),
    },
    "BatchingParameters": {
        "max_batch_size": (1, _INT64_VALUE),
        "batch_timeout_micros": (2, _INT64_VALUE),
        "max_enqueued_batches": (3, _INT64_VALUE),
        "num_batch_threads": (4, _INT64_VALUE),
        "thread_pool_name": (5, _STRING_VALUE),
        "allowed_batch_sizes": (6, (_FIELD.TYPE_INT64, "repeated")),
        "pad_variable_length_inputs": (7, (_FIELD.TYPE_BOOL, "")),
        "enable_large_batch_splitting": (8, _BOOL_VALUE),
        "max_execution_batch_size": (9, _INT64_VALUE),
    },
}


@functools.cache
def configuration_message(name: str) -> Any:
    """The class of `tensorflow.serving.<name>`, one of `MonitoringConfig`, `SSLConfig`, `BatchingParameters`."""
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_operator/model_server/configuration.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for message_name, fields in _CONFIGURATION.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, (kind, detail)) in fields.items():
            field = message.field.add(name=field_name, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
            if detail == "repeated":
                field.label = _FIELD.LABEL_REPEATED
            elif detail:
                field.type_name = detail
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))


def read_text_proto(path: Path, message: Any) -> Any:
    """Parse the text-format proto in `path` into `message` and return it.

    Raises ServingError when the file cannot be read or is not of that message's form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(f"cannot read {path}: {error}") from error
    return parse_text_proto(text, message, str(path))


def parse_text_proto(text: str, message: Any, source: str) -> Any:
    """Parse `text`, which came from `source`, into `message` and return it. Raises ServingError."""
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        name = type(message).DESCRIPTOR.name
        raise invalid(f"{source} is not a valid text-format {name}: {error}") from error


__all__ = [
    "ConfigProto",
    "Example",
    "Feature",
    "ModelServerConfig",
    "RunOptions",
    "SavedModel",
    "ServingError",
    "SignatureDef",
    "TensorProto",
    "classification_pb2",
    "configuration_message",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "model_management_pb2",
    "parse_text_proto",
    "predict_pb2",
    "prediction_log_pb2",
    "prediction_services",
    "read_text_proto",
    "regression_pb2",
    "tensorflow_directory",
]
