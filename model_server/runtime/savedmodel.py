"""What a SavedModel says of itself: the signatures in `saved_model.pb`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from model_server.runtime.bounded_graphs import BoundedGraphs
from model_server.runtime.dtypes import DataType
from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.protobufs import SavedModel

DEFAULT_SIGNATURE = "serving_default"
# Keras and TensorFlow write these for their own loaders; nobody can call them with tensors.
_INTERNAL_SIGNATURES = frozenset({"__saved_model_init_op", "__saved_model_train_op"})


@dataclasses.dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature.

    `tensor` is its name in the graph (`operation:index`); `shape` has None for a dimension of any size, and is None
    itself when the rank is unknown.
    """

    name: str
    tensor: str
    dtype: DataType
    shape: tuple[int | None, ...] | None

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of `shape` may be given here."""
        if self.shape is None:
            return True
        if len(shape) != len(self.shape):
            return False
        for want, size in zip(self.shape, shape, strict=True):  # noqa: SIM110 - `all` takes twice that
            if want is not None and want != size:
                return False
        return True

    def describe_shape(self) -> str:
        """The shape as TensorFlow prints it, such as `[-1,28,28,1]`."""
        return "[?]" if self.shape is None else f"[{','.join(str(-1 if d is None else d) for d in self.shape)}]"


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """A callable part of a model: named inputs, named outputs. Both mappings are sorted by name.

    `bounded` says that the shapes of its inputs bound what it takes to run it (see `bounded_graphs`).
    """

    name: str
    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    bounded: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ModelInterface:
    """The signatures of one meta graph, as types and as the protos that metadata requests return."""

    signatures: Mapping[str, Signature]
    signature_defs: Mapping[str, Any]

    def signature(self, name: str) -> Signature:
        """The signature of that name ("" means the default). Raises ServingError in TensorFlow Serving's words."""
        key = name or DEFAULT_SIGNATURE
        found = self.signatures.get(key)
        if found is None:
            raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
        return found


def read_interface(directory: Path, tags: Iterable[str]) -> ModelInterface:
    """The signatures of the meta graph with exactly `tags` in `<directory>/saved_model.pb`.

    Raises ServingError: NOT_FOUND without such a file or meta graph, INVALID_ARGUMENT when the file is damaged.
    """
    path = directory / "saved_model.pb"
    try:
        saved_model = SavedModel.FromString(path.read_bytes())
    except OSError as error:
        message = f"Could not find SavedModel .pb at supplied export directory path: {directory}"
        raise ServingError(Code.NOT_FOUND, message) from error
    except DecodeError as error:
        raise invalid(f"Can't parse {path} as binary proto: the file is damaged, publish the version again") from error
    wanted = set(tags)
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == wanted:
            return _interface(meta_graph.signature_def, BoundedGraphs(meta_graph.graph_def))
    found = "; ".join("{" + ", ".join(m.meta_info_def.tags) + "}" for m in saved_model.meta_graphs) or "none"
    raise ServingError(
        Code.NOT_FOUND,
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(wanted))} }} in {path}; "
        f"it has {found}",
    )


def _interface(signature_defs: Mapping[str, Any], graphs: BoundedGraphs) -> ModelInterface:
    signatures = {}
    kept = {}
    for name in sorted(signature_defs):
        if name in _INTERNAL_SIGNATURES:
            continue
        definition = signature_defs[name]
        kept[name] = type(definition).FromString(definition.SerializeToString())  # lets the whole graph be freed
        signatures[name] = Signature(
            name=name,
            method=definition.method_name,
            inputs={key: _spec(key, definition.inputs[key]) for key in sorted(definition.inputs)},
            outputs={key: _spec(key, definition.outputs[key]) for key in sorted(definition.outputs)},
            bounded=graphs.bounds(output.name for output in definition.outputs.values()),
        )
    return ModelInterface(signatures, kept)


def _spec(name: str, info: Any) -> TensorSpec:
    if info.WhichOneof("encoding") != "name":
        raise ServingError(
            Code.UNIMPLEMENTED, f"the signature's tensor {name!r} is sparse or composite; only dense tensors are served"
        )
    if info.dtype not in DataType.__members__.values():
        raise ServingError(
            Code.UNIMPLEMENTED, f"the signature's tensor {name!r} has an element type ({info.dtype}) unknown here"
        )
    dims = info.tensor_shape.dim
    shape = None if info.tensor_shape.unknown_rank else tuple(d.size if d.size >= 0 else None for d in dims)
    return TensorSpec(name, info.name, DataType(info.dtype), shape)
