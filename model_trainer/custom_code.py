"""Code that a model file brings along or asks for: Lambda layers, foreign classes, calls of TensorFlow by name.

Loading such a file would run whatever its author wrote, in a pod that holds the store's keys. So the file's own
description of the model is searched before Keras sees it; Keras' safe mode then refuses once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Keras 2 keeps a call such as `x / 127.5` as a layer that names TensorFlow's function. Those that compute are read;
# any other (tf.io.write_file, tf.py_function, tf.raw_ops …) would run what the file's author wanted.
_COMPUTING = (
    "math.",
    "nn.",
    "linalg.",
    "image.",
    "signal.",
    "sparse.",
    "__operators__.",
    "compat.v1.nn.",
    "compat.v1.transpose",
    "compat.v1.shape",
    "keras.backend.",
)
_COMPUTING_BY_NAME = {
    *("abs", "add", "argmax", "argmin", "broadcast_to", "cast", "clip_by_value", "concat", "constant", "cumsum"),
    *("divide", "einsum", "exp", "expand_dims", "eye", "fill", "gather", "gather_nd", "identity", "less", "greater"),
    *("linspace", "matmul", "maximum", "minimum", "multiply", "negative", "norm", "one_hot", "ones_like", "pad", "pow"),
    *("range", "rank", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "repeat", "reshape"),
    *("reverse", "roll", "round", "shape", "sigmoid", "size", "slice", "split", "sqrt", "square", "squeeze", "stack"),
    *("stop_gradient", "strided_slice", "subtract", "tanh", "tensordot", "tile", "transpose", "unstack", "where"),
    *("zeros_like", "convert_to_tensor", "not_equal", "equal", "logical_and", "logical_or", "logical_not", "sign"),
}
_CALLS = {"TFOpLambda", "SlicingOpLambda"}
_METHODS = {"ClassMethod", "InstanceMethod", "InstanceProperty"}
_OWN_MODULES = ("keras", "tf_keras", "builtins")


@dataclass(frozen=True, slots=True)
class Foreign:
    """One thing in a model that would run code: the layer's name, and what it is in words."""

    layer: str
    what: str
    carries_code: bool
    """Whether the file brings the code itself (a Lambda), so that it can be allowed to run."""
    name: str = ""
    """The name under which Keras would look for a class."""


def foreign_code(config: Any) -> tuple[Foreign, ...]:
    """Everything in a model's description that is not Keras' own, in the order of the layers."""
    return tuple(_search(config, "the model"))


def _search(node: Any, layer: str) -> Iterator[Foreign]:
    if isinstance(node, list):
        for item in node:
            yield from _search(item, layer)
    if not isinstance(node, dict):
        return
    kind = node.get("class_name")
    inner = node.get("config")
    if isinstance(kind, str):
        name = inner.get("name") if isinstance(inner, dict) else None
        layer = name if isinstance(name, str) else layer
        yield from _judged(node, kind, inner, layer)
    for value in node.values():
        yield from _search(value, layer)


def _judged(node: dict[str, Any], kind: str, config: Any, layer: str) -> Iterator[Foreign]:
    module, registered = node.get("module"), node.get("registered_name")
    function = config.get("function") if isinstance(config, dict) else None
    if kind == "Lambda":
        yield Foreign(layer, "a Lambda layer, whose Python code is in the file", carries_code=True)
    elif kind == "__lambda__":
        yield Foreign(layer, "a Python lambda, whose code is in the file", carries_code=True)
    elif kind in _METHODS:
        yield Foreign(layer, f"a call of a method ({kind})", carries_code=True)
    elif kind in _CALLS and not _computes(str(function or "")):
        yield Foreign(layer, f"a call of tf.{function}, which does more than compute", carries_code=True)
    elif isinstance(module, str) and module.partition(".")[0] not in _OWN_MODULES:
        yield Foreign(layer, f"of the class {module}.{kind}, which Keras does not have", False, str(registered or kind))
    elif ">" in kind:
        yield Foreign(layer, f"of the class {kind}, which Keras does not have", False, str(registered or kind))
    elif registered and module is None and ">" in str(registered):
        yield Foreign(layer, f"of the class {registered}, which Keras does not have", False, str(registered or kind))


def _computes(function: str) -> bool:
    return function.startswith(_COMPUTING) or function in _COMPUTING_BY_NAME
