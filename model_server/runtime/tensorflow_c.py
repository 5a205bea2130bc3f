"""A typed layer over the part of TensorFlow's C API that serving needs, through ctypes.

The libraries come from the `tensorflow-cpu` wheel; TensorFlow's Python package is never imported. ctypes releases the
GIL while a session loads, runs or is freed, so other threads go on. All other calls take less than a change of threads
would, and keep it.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from typing import Any

import numpy as np

from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import Code, ServingError
from model_server.runtime.protobufs import TensorProto, tensorflow_directory

_TSTRING_BYTES = 24  # sizeof(TF_TString)
_TYPES = {int(dtype): dtype for dtype in DataType}
# Copying so much takes a microsecond, NumPy's way to another's memory ten.
_SMALL_BYTES = 64 * 1024


class Output(ctypes.Structure):
    """`TF_Output`: one output of one operation of a graph."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


_P, _OUTPUTS, _POINTERS = c_void_p, POINTER(Output), POINTER(c_void_p)
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
    # session, run options, inputs, outputs, targets, run metadata, status
    ("TF_SessionRun", None, [_P, _P, _OUTPUTS, _POINTERS, c_int, _OUTPUTS, _POINTERS, c_int, _P, c_int, _P, _P]),
    ("TF_AllocateTensor", _P, [c_int, POINTER(c_int64), c_int, c_size_t]),
    ("TF_TensorFromProto", None, [_P, _P, _P]),
    ("TF_DeleteTensor", None, [_P]),
    ("TF_TensorType", c_int, [_P]),
    ("TF_NumDims", c_int, [_P]),
    ("TF_Dim", c_int64, [_P, c_int]),
    ("TF_TensorData", _P, [_P]),
    ("TF_StringGetDataPointer", _P, [_P]),
    ("TF_StringGetSize", c_size_t, [_P]),
]
# What may take long.
_LONG = {
    *("TF_LoadSessionFromSavedModel", "TF_CloseSession", "TF_DeleteSession", "TF_DeleteGraph"),
    *("TF_SessionRun", "TF_TensorFromProto"),
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
    tf = library()
    code = tf.TF_GetCode(status)
    if code:
        message = tf.TF_Message(status).decode("utf-8", "replace")
        raise ServingError(Code.of(code), message)


class RunOptions:
    """A serialized `RunOptions` proto in TensorFlow's memory, for as many runs as are wanted."""

    __slots__ = ("pointer",)

    def __init__(self, serialized: bytes) -> None:
        self.pointer: int = library().TF_NewBufferFromString(serialized, len(serialized))

    def __del__(self) -> None:
        library().TF_DeleteBuffer(self.pointer)


class Tensor:
    """Owns one `TF_Tensor`. `numpy.asarray(tensor)` is a view that keeps it alive (all types but strings)."""

    __slots__ = ("__weakref__", "pointer")

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __del__(self) -> None:
        library().TF_DeleteTensor(self.pointer)

    @classmethod
    def empty(cls, dtype: DataType, shape: Sequence[int]) -> Tensor:
        """An uninitialised tensor of a fixed-size type, to be filled through `numpy.asarray`."""
        element = dtype.numpy
        if element is None or dtype is DataType.STRING:
            raise ServingError(Code.UNIMPLEMENTED, f"tensors of type {dtype.label} cannot be sent to this server")
        dims, count = _dims(tuple(shape))
        pointer = library().TF_AllocateTensor(dtype, dims, len(shape), count * element.itemsize)
        if not pointer:
            raise ServingError(Code.RESOURCE_EXHAUSTED, f"no memory for a {dtype.label} tensor of shape {list(shape)}")
        return cls(pointer)

    @classmethod
    def from_numpy(cls, array: Array, dtype: DataType) -> Tensor:
        """A tensor with the array's values: one copy, straight into TensorFlow's aligned memory."""
        if dtype is DataType.STRING:
            return cls._from_strings(array)
        if array.dtype != dtype.numpy:
            msg = f"a tensor of type {dtype.label} cannot hold elements of {array.dtype}"
            raise TypeError(msg)
        tensor = cls.empty(dtype, array.shape)
        size = array.nbytes
        if 0 < size <= _SMALL_BYTES:
            ctypes.memmove(library().TF_TensorData(tensor.pointer), array.tobytes(), size)
        elif size:
            np.copyto(np.asarray(tensor), array, casting="no")
        return tensor

    @classmethod
    def _from_strings(cls, array: Array) -> Tensor:
        # TensorFlow builds the strings itself from a proto, and so owns them. Strings written through TF_StringCopy
        # would have to be freed here, while a variable or a table of the model may still share them.
        tf = library()
        proto = TensorProto(dtype=int(DataType.STRING), string_val=array.ravel().tolist())
        for dim in array.shape:
            proto.tensor_shape.dim.add(size=dim)
        serialized = proto.SerializeToString()
        tensor = cls(tf.TF_AllocateTensor(int(DataType.BOOL), None, 0, 1))
        buffer = tf.TF_NewBufferFromString(serialized, len(serialized))
        status = _new_status()
        try:
            tf.TF_TensorFromProto(buffer, tensor.pointer, status)
            _check(status)
        finally:
            tf.TF_DeleteBuffer(buffer)
        return tensor

    @property
    def dtype(self) -> DataType:
        """The type of its elements."""
        return _TYPES[library().TF_TensorType(self.pointer)]

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension; () for a scalar."""
        tf, pointer = library(), self.pointer
        return tuple([tf.TF_Dim(pointer, i) for i in range(tf.TF_NumDims(pointer))])

    @property
    def __array_interface__(self) -> dict[str, object]:
        element = self.dtype.numpy
        if element is None or self.dtype is DataType.STRING:
            msg = f"a tensor of type {self.dtype.label} has no NumPy view"
            raise TypeError(msg)
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": element.str,
            "data": (library().TF_TensorData(self.pointer), False),
        }

    def numpy(self) -> Array:
        """Its values, not to be written to: of a large tensor a view, for strings an object array of `bytes`."""
        dtype, shape = self.dtype, self.shape
        element = dtype.numpy
        if element is None:
            raise ServingError(Code.UNIMPLEMENTED, f"an output of type {dtype.label} cannot be sent to a client")
        if 0 in shape:
            return np.empty(shape, element)
        if dtype is DataType.STRING:
            return self._strings(shape)
        size = math.prod(shape) * element.itemsize
        if size > _SMALL_BYTES:
            return np.asarray(self)
        return np.ndarray(shape, element, ctypes.string_at(library().TF_TensorData(self.pointer), size))

    def _strings(self, shape: tuple[int, ...]) -> Array:
        tf = library()
        values: Array = np.empty(shape, np.object_)
        flat = values.reshape(-1)
        first: int = tf.TF_TensorData(self.pointer)
        for i in range(flat.size):
            string = first + i * _TSTRING_BYTES
            flat[i] = ctypes.string_at(tf.TF_StringGetDataPointer(string), tf.TF_StringGetSize(string))
        return values


@functools.lru_cache(256)
def _dims(shape: tuple[int, ...]) -> tuple[ctypes.Array[c_int64], int]:
    """A shape as C has it, only to be read, and its number of elements: most requests have shapes that came before."""
    return (c_int64 * len(shape))(*shape), math.prod(shape)


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
        tf = library()
        status = _statuses().pointer  # TF_SessionRun sets it to OK itself
        given = (c_void_p * len(inputs))(*[tensor.pointer for tensor in inputs])
        results = (c_void_p * len(fetches))()
        buffer = None if options is None else options.pointer
        tf.TF_SessionRun(
            self._session, buffer, feeds, given, len(given), fetches, results, len(results), None, 0, None, status
        )
        tensors = [Tensor(pointer) for pointer in results if pointer]
        _check(status)
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


__all__ = ["Output", "RunOptions", "Session", "Tensor", "library", "version"]
