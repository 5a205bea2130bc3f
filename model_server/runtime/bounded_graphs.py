"""Which signatures do work that the shapes of their inputs bound, whatever the values are.

Such a graph has no loop, waits for nothing and makes no tensor whose size is a value of another, unless that value in
turn comes from shapes and constants alone: once a run for some shapes was short, all are. Only those may run in the
event loop's own thread, where a run that does not end would keep everybody from being answered, and only those are run
before anybody asks. The list says what is known to be so: an operation that is not on it costs a signature these
advantages and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Constants, variables, and what only passes tensors on; layers; element by element; over dimensions; shapes.
_NAMES = """
Const Placeholder VarHandleOp ReadVariableOp VariableV2 Identity IdentityN NoOp Snapshot StopGradient EnsureShape
PartitionedCall StatefulPartitionedCall DisableCopyOnRead

Conv2D Conv3D DepthwiseConv2dNative MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum BiasAdd FusedBatchNorm
FusedBatchNormV2 FusedBatchNormV3 MaxPool MaxPoolV2 MaxPool3D AvgPool AvgPool3D LRN L2Loss Relu Relu6 Elu Selu
LeakyRelu Sigmoid Tanh Softmax LogSoftmax Softplus Softsign

Add AddV2 AddN Sub Mul Div RealDiv DivNoNan FloorDiv FloorMod Maximum Minimum Pow SquaredDifference Neg Abs Sign Exp
Expm1 Log Log1p Sqrt Rsqrt Square Reciprocal Inv Erf Erfc Sin Cos Tan Asin Acos Atan Atan2 Sinh Cosh Floor Ceil Round
Rint Cast ClipByValue Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr LogicalNot Select
SelectV2 IsNan IsInf IsFinite ZerosLike OnesLike

Mean Sum Prod Max Min All Any ArgMax ArgMin Cumsum

Shape ShapeN Size Rank Reshape Squeeze ExpandDims Transpose StridedSlice Slice Pack Unpack ConcatV2 Split SplitV
GatherV2 GatherNd ResourceGather ReverseV2 SpaceToDepth DepthToSpace
"""
_BOUNDED = frozenset(_NAMES.split())
# Operations whose output is as large as some inputs say, and which those are: shapes have to tell their values.
_SIZED_BY = {
    "Pad": (1,),
    "PadV2": (1,),
    "MirrorPad": (1,),
    "Tile": (1,),
    "BroadcastTo": (1,),
    "Fill": (0,),
    "OneHot": (1,),
    "Range": (0, 1, 2),
    "ResizeBilinear": (1,),
    "ResizeNearestNeighbor": (1,),
}
# What these answer depends on no value at all, and what others answer on those of their inputs: but for what stands for
# a value itself or calls a function, of which nothing is known here.
_OF_SHAPES = frozenset({"Const", "Shape", "ShapeN", "Size", "Rank"})
_OF_INPUTS = _BOUNDED - {
    *("Placeholder", "VarHandleOp", "ReadVariableOp", "VariableV2", "ResourceGather"),
    *("PartitionedCall", "StatefulPartitionedCall"),
}
# A function that XLA compiles: for each new shape it takes seconds to begin.
_COMPILED = "_XlaMustCompile"


class BoundedGraphs:
    """Looks at the graph of one meta graph (a `GraphDef`)."""

    def __init__(self, graph: Any) -> None:
        self._nodes = {node.name: node for node in graph.node}
        self._functions = {function.signature.name: function for function in graph.library.function}
        # Answers that are known; False while one is looked for, so that a function that calls itself is not bounded.
        self._known: dict[str, bool] = {}

    def bounds(self, tensors: Iterable[str]) -> bool:
        """Whether all that `tensors` (`operation:index`) are made from is bounded."""
        waiting, seen = [_operation(name) for name in tensors], set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            node = self._nodes.get(name)
            if node is None or not self._is_bounded(node, self._nodes):
                return False
            waiting += map(_operation, node.input)
        return True

    def _is_bounded(self, node: Any, nodes: Mapping[str, Any]) -> bool:
        if node.op in _SIZED_BY:
            return all(_is_of_shapes(node.input[at], nodes) for at in _SIZED_BY[node.op])
        return node.op in _BOUNDED and _COMPILED not in node.attr and all(map(self._function, _called(node)))

    def _function(self, name: str) -> bool:
        known = self._known.get(name)
        if known is None:
            self._known[name] = False
            function = self._functions.get(name)
            if function is None or _COMPILED in function.attr:
                return False
            nodes = {node.name: node for node in function.node_def}
            known = self._known[name] = all(self._is_bounded(node, nodes) for node in function.node_def)
        return known


def _is_of_shapes(tensor: str, nodes: Mapping[str, Any]) -> bool:
    """Whether the value of `tensor` is the same for all inputs of the same shapes."""
    waiting, seen = [_operation(tensor)], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = nodes.get(name)
        if node is None or node.op not in _OF_SHAPES | _OF_INPUTS | _SIZED_BY.keys():
            return False
        if node.op not in _OF_SHAPES:
            waiting += [_operation(one) for one in node.input if not one.startswith("^")]
    return True


def _operation(tensor: str) -> str:
    """Of `name`, `name:1`, `^name` (control input) or, in a function, `name:output:0`."""
    return tensor.lstrip("^").partition(":")[0]


def _called(node: Any) -> list[str]:
    """The functions that a node names."""
    names = [value.func.name for value in node.attr.values() if value.HasField("func")]
    return names + [func.name for value in node.attr.values() for func in value.list.func]
