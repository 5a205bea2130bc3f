"""A typed layer over the part of TensorFlow's C API that serving needs.

What each request needs is compiled (`_tensors.cpp`), all else goes through ctypes. The libraries come from the
`tensorflow-cpu` wheel; TensorFlow's Python package is never imported. The GIL is released while a session loads, runs
or is freed, so other threads go on. All other calls take less than a change of threads would, and keep it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from typing import Any

import numpy as np

from model_server.runtime import _tensors
from model_server.runtime._tensors import Tensor
from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import Code, ServingError
from model_server.runtime.protobufs import TensorProto, tensorflow_directory

_TSTRING_BYTES = 24  # sizeof(TF_TString)
_TYPES = {int(dtype): dtype for dtype in DataType}


class Output(ctypes.Structure):
    """`TF_Output`: one output of one operation of a graph."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


_P = c_void_p
_FUNCTIONS: list[tuple[str, Any, list[Any]]] = [
    ("TF_Version", c_char_p, []),
    ("TF_NewStatus", _P, []),
    ("TF_SetStatus", None, [_P, c_int, c_char_p]),
    ("TF_GetCode", c_int, [_P]),
    ("TF_Message", c_char_p, [_P]),
    ("TF_NewBufferFromString", _P, [c_char_p, c_size_t]),
    ("TF_DeleteBuffer", None, [_P]),
    ("TF_NewGraph", _P, []),
    ("TF_DeleteGraph", None, [_P]),
    ("TF_GraphOperationByName", _P, [_P, c_char_p]),
    ("TF_NewSessionOptions", _P, []),
    ("TF_SetConfig", None, [_P, c_char_p, c_size_t, _P]),
    ("TF_DeleteSessionOptions", None, [_P]),
    ("TF_LoadSessionFromSavedModel", _P, [_P, _P, c_char_p, POINTER(c_char_p), c_int, _P, _P, _P]),
    ("TF_CloseSession", None, [_P, _P]),
    ("TF_DeleteSession", None, [_P, _P]),
    ("TF_AllocateTensor", _P, [c_int, POINTER(c_int64), c_int, c_size_t]),
    ("TF_TensorFromProto", None, [_P, _P, _P]),
    ("TF_TensorData", _P, [_P]),
    ("TF_StringGetDataPointer", _P, [_P]),
    ("TF_StringGetSize", c_size_t, [_P]),
]
# What may take long.
_LONG = {
    *("TF_LoadSessionFromSavedModel", "TF_CloseSession", "TF_DeleteSession", "TF_DeleteGraph", "TF_TensorFromProto"),
}


@functools.cache
def library() -> Any:
    """TensorFlow's C API with typed functions. Loading it takes about 0.3 s, once a process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    folder = tensorflow_directory()
    # Not RTLD_GLOBAL: TensorFlow's BoringSSL would take the place of Python's OpenSSL, and `ssl` crash.
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"))
    tf = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    keeping_the_gil = ctypes.PyDLL(None, handle=tf._handle)
    for name, result, arguments in _FUNCTIONS:
        function = getattr(tf if name in _LONG else keeping_the_gil, name)
        function.restype, function.argtypes = result, arguments
        setattr(tf, name, function)
    _tensors.bind(tf._handle)
    return tf


class _ThreadStatus(threading.local):
    """One `TF_Status` for each thread, made once: every call of the API needs one."""

    def __init__(self) -> None:
        self.pointer: int = library().TF_NewStatus()


@functools.cache
def _statuses() -> _ThreadStatus:
    return _ThreadStatus()


def _new_status() -> int:
    """This thread's status, set to OK: some functions only ever set it on failure."""
    status = _statuses().pointer
    library().TF_SetStatus(status, 0, b"")
    return status


def _check(status: int) -> None:
    if library().TF_GetCode(status):
        raise _error(status)


def _error(status: int) -> ServingError:
    tf = library()
    return ServingError(Code.of(tf.TF_GetCode(status)), tf.TF_Message(status).decode("utf-8", "replace"))


class RunOptions:
    """A serialized `RunOptions` proto in TensorFlow's memory, for as many runs as are wanted."""

    __slots__ = ("pointer",)

    def __init__(self, serialized: bytes) -> None:
        self.pointer: int = library().TF_NewBufferFromString(serialized, len(serialized))

    def __del__(self) -> None:
        library().TF_DeleteBuffer(self.pointer)


def tensor_from(array: Array, dtype: DataType) -> Tensor:
    """A tensor with the array's values: one copy, straight into TensorFlow's aligned memory.

    Raises ServingError for types that no client can send, and where there is no memory.
    """
    element = dtype.numpy
    if element is None:
        raise ServingError(Code.UNIMPLEMENTED, f"tensors of type {dtype.label} cannot be sent to this server")
    if dtype is DataType.STRING:
        return _tensor_from_strings(array)
    if array.dtype != element:
        msg = f"a tensor of type {dtype.label} cannot hold elements of {array.dtype}"
        raise TypeError(msg)
    try:
        return _tensors.tensor(dtype, array if array.flags.c_contiguous else array.copy())
    except MemoryError as error:
        message = f"no memory for a {dtype.label} tensor of shape {list(array.shape)}"
        raise ServingError(Code.RESOURCE_EXHAUSTED, message) from error


def _tensor_from_strings(array: Array) -> Tensor:
    # TensorFlow builds the strings itself from a proto, and so owns them. Strings written through TF_StringCopy
    # would have to be freed here, while a variable or a table of the model may still share them.
    tf = library()
    proto = TensorProto(dtype=int(DataType.STRING), string_val=array.ravel().tolist())
    for dim in array.shape:
        proto.tensor_shape.dim.add(size=dim)
    serialized = proto.SerializeToString()
    tensor = _tensors.adopt(tf.TF_AllocateTensor(int(DataType.BOOL), None, 0, 1))
    buffer = tf.TF_NewBufferFromString(serialized, len(serialized))
    status = _new_status()
    try:
        tf.TF_TensorFromProto(buffer, tensor.pointer, status)
        _check(status)
    finally:
        tf.TF_DeleteBuffer(buffer)
    return tensor


def array_from(tensor: Tensor) -> Array:
    """A tensor's values: a view, only to be read, that keeps it alive; for strings an object array of `bytes`.

    Raises ServingError for types that cannot be sent to a client.
    """
    dtype, shape = _TYPES[tensor.dtype], tensor.shape
    element = dtype.numpy
    if element is None:
        raise ServingError(Code.UNIMPLEMENTED, f"an output of type {dtype.label} cannot be sent to a client")
    if 0 in shape:
        return np.empty(shape, element)
    if dtype is DataType.STRING:
        return _strings(tensor, shape)
    return np.ndarray(shape, element, tensor)  # type: ignore[arg-type]  # any buffer will do, its stubs name a few


def _strings(tensor: Tensor, shape: tuple[int, ...]) -> Array:
    tf = library()
    values: Array = np.empty(shape, np.object_)
    flat = values.reshape(-1)
    first: int = tf.TF_TensorData(tensor.pointer)
    for i in range(flat.size):
        string = first + i * _TSTRING_BYTES
        flat[i] = ctypes.string_at(tf.TF_StringGetDataPointer(string), tf.TF_StringGetSize(string))
    return values


class Session:
    """A SavedModel loaded into memory. Safe for use by several threads, until `close`."""

    def __init__(
        self, directory: str, tags: Sequence[str], config: bytes, run_options: RunOptions | None = None
    ) -> None:
        """Load the meta graph with `tags` from `directory`. `config` is a serialized ConfigProto.

        Raises ServingError with TensorFlow's code and message.
        """
        tf = library()
        status = _new_status()
        options = tf.TF_NewSessionOptions()
        running = None if run_options is None else run_options.pointer
        self._graph: int = tf.TF_NewGraph()
        self._session: int | None = None
        try:
            tf.TF_SetConfig(options, config, len(config), status)
            _check(status)
            encoded = (c_char_p * len(tags))(*(tag.encode() for tag in tags))
            self._session = tf.TF_LoadSessionFromSavedModel(
                options, running, os.fsencode(directory), encoded, len(tags), self._graph, None, status
            )
            _check(status)
        except ServingError:
            tf.TF_DeleteGraph(self._graph)
            raise
        finally:
            tf.TF_DeleteSessionOptions(options)

    def outputs(self, names: Sequence[str]) -> ctypes.Array[Output]:
        """The graph's tensors `operation:index` of those names, in the form that `run` takes.

        Raises ServingError when the graph has no such operation.
        """
        found = (Output * len(names))()
        for i, name in enumerate(names):
            operation_name, _, index = name.partition(":")
            operation = library().TF_GraphOperationByName(self._graph, operation_name.encode())
            if not operation:
                message = f"a signature names operation {operation_name!r}, which the graph does not have"
                raise ServingError(Code.NOT_FOUND, message)
            found[i] = Output(operation, int(index or 0))
        return found

    def run(
        self,
        feeds: ctypes.Array[Output],
        inputs: Sequence[Tensor],
        fetches: ctypes.Array[Output],
        options: RunOptions | None = None,
    ) -> list[Tensor]:
        """Run the graph once: `inputs` go to `feeds`, the tensors of `fetches` come back in their order.

        Raises ServingError with TensorFlow's code and message.
        """
        if self._session is None:
            msg = "the session is closed"
            raise RuntimeError(msg)
        status = _statuses().pointer  # TF_SessionRun sets it to OK itself
        buffer = 0 if options is None else options.pointer
        tensors = _tensors.run(self._session, buffer, feeds, inputs, fetches, status)
        if tensors is None:
            raise _error(status)
        return tensors

    def close(self) -> None:
        """Free the session, its variables and its graph. The session must not be in use; a second call does nothing."""
        session, self._session = self._session, None
        if session is None:
            return
        tf = library()
        status = _new_status()
        tf.TF_CloseSession(session, status)
        tf.TF_DeleteSession(session, status)
        tf.TF_DeleteGraph(self._graph)


def version() -> str:
    """TensorFlow's version, such as `2.21.0`."""
    text: bytes = library().TF_Version()
    return text.decode()


__all__ = ["Output", "RunOptions", "Session", "Tensor", "array_from", "library", "tensor_from", "version"]
