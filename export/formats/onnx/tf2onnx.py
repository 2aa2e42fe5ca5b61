"""The general way to ONNX, for networks with layers that have no direct translation."""

import logging
import os
from typing import TYPE_CHECKING

import numpy as np
import onnx

from kerasgen.errors import UserError

from ..tf_graph import quiet_tensorflow
from .mending import mend

if TYPE_CHECKING:
    import tensorflow as tf
    from tf2onnx.graph import Graph, Node

    from ...contract.signature import Signature

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
_NEWEST_OPSET = 18  # tf2onnx refuses newer ones


def convert(signature: "Signature", opset: int) -> onnx.ModelProto:
    """Return the network as tf2onnx translates its TensorFlow graph.

    Raises:
        UserError: the opset is newer than tf2onnx knows, or ONNX has no operator for one of TensorFlow's.
    """
    if opset > _NEWEST_OPSET:
        raise UserError(
            f"Opset {opset} was asked for, but {signature.model.name!r} has to go through tf2onnx, which writes "
            f"{_NEWEST_OPSET} at most: ask for that."
        )
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")
    with quiet_tensorflow():
        import tf2onnx

        logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
        graph, renamed = _frozen(signature)
        tensors = list(renamed)
        model, _ = tf2onnx.convert.from_graph_def(
            graph,
            name=signature.model.name,
            input_names=tensors[: len(signature.inputs)],
            output_names=tensors[len(signature.inputs) :],
            opset=opset,
            custom_op_handlers={name: (lower, []) for name, lower in _LOWERED.items()},
            tensors_to_rename=renamed,
        )
    _refuse_unknown(model, signature.model.name)
    mend(model)
    return model


def _frozen(signature: "Signature") -> "tuple[tf.compat.v1.GraphDef, dict[str, str]]":
    """Return the network's graph with all that it captures as constants, and the names of its tensors.

    tf2onnx by itself makes an input of each captured tensor that isn't a variable.
    """
    import tensorflow as tf
    from tf2onnx import tf_loader

    inputs, outputs = list(signature.inputs), list(signature.outputs)

    def positional(*tensors: "tf.Tensor") -> "list[tf.Tensor]":
        found = signature.call(dict(zip(inputs, tensors, strict=True)))
        return [found[name] for name in outputs]

    specs = [tf.TensorSpec(info.shape, info.dtype, name=name) for name, info in signature.inputs.items()]
    function = tf.function(positional, autograph=False, input_signature=specs).get_concrete_function()
    entering = [tensor.name for tensor in function.inputs[: len(inputs)]]
    leaving = [tensor.name for tensor in function.outputs]
    graph = tf_loader.from_function(function, entering, leaving)
    for nodes in (graph.node, *(inner.node_def for inner in graph.library.function)):
        for node in nodes:
            # Functions that XLA must compile, such as Keras' grouped convolutions, would not be inlined.
            node.attr.pop("_XlaMustCompile", None)
    for inner in graph.library.function:
        inner.attr.pop("_XlaMustCompile", None)
        inner.attr.pop("_noinline", None)
    return graph, dict(zip([*entering, *leaving], [*inputs, *outputs], strict=True))


def _erfc(graph: "Graph", node: "Node", name: str, args: list) -> None:
    """Lower erfc(x), which ONNX lacks, to 1 - erf(x)."""
    one, given, shapes, dtypes, outputs = _one_and_taken(graph, node, name)
    erf = graph.make_node("Erf", [given], shapes=shapes, dtypes=dtypes).output[0]
    graph.make_node("Sub", [one, erf], outputs=outputs, shapes=shapes, dtypes=dtypes)


def _expm1(graph: "Graph", node: "Node", name: str, args: list) -> None:
    """Lower expm1(x), which ONNX lacks, to exp(x) - 1."""
    one, given, shapes, dtypes, outputs = _one_and_taken(graph, node, name)
    power = graph.make_node("Exp", [given], shapes=shapes, dtypes=dtypes).output[0]
    graph.make_node("Sub", [power, one], outputs=outputs, shapes=shapes, dtypes=dtypes)


def _log1p(graph: "Graph", node: "Node", name: str, args: list) -> None:
    """Lower log1p(x), which ONNX lacks, to log(1 + x)."""
    one, given, shapes, dtypes, outputs = _one_and_taken(graph, node, name)
    more = graph.make_node("Add", [given, one], shapes=shapes, dtypes=dtypes).output[0]
    graph.make_node("Log", [more], outputs=outputs, shapes=shapes, dtypes=dtypes)


def _one_and_taken(graph: "Graph", node: "Node", name: str) -> tuple:
    """Take a node of one operand out of the graph, and return a 1 of its dtype, the operand, and what it gave."""
    found = (node.input[0], node.output_shapes, node.output_dtypes, node.output)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(graph.get_dtype(node.output[0]))
    graph.remove_node(node.name)
    return (graph.make_const(f"{name}_one", np.array(1, dtype)).output[0], *found)


def _floor_div(graph: "Graph", node: "Node", name: str, args: list) -> None:
    """Lower x // y, which tf2onnx cuts towards 0 where it is whole."""
    x, y, shapes, dtypes, outputs = _taken(graph, node)
    if dtypes[0] in _FLOATS:
        quotient = graph.make_node("Div", [x, y], shapes=shapes, dtypes=dtypes).output[0]
        graph.make_node("Floor", [quotient], outputs=outputs, shapes=shapes, dtypes=dtypes)
        return
    rest = graph.make_node("Mod", [x, y], shapes=shapes, dtypes=dtypes).output[0]
    exact = graph.make_node("Sub", [x, rest], shapes=shapes, dtypes=dtypes).output[0]
    graph.make_node("Div", [exact, y], outputs=outputs, shapes=shapes, dtypes=dtypes)


def _floor_mod(graph: "Graph", node: "Node", name: str, args: list) -> None:
    """Lower x % y, of the divisor's sign."""
    x, y, shapes, dtypes, outputs = _taken(graph, node)
    if dtypes[0] not in _FLOATS:
        graph.make_node("Mod", [x, y], outputs=outputs, shapes=shapes, dtypes=dtypes)
        return
    quotient = graph.make_node("Div", [x, y], shapes=shapes, dtypes=dtypes).output[0]
    times = graph.make_node("Floor", [quotient], shapes=shapes, dtypes=dtypes).output[0]
    whole = graph.make_node("Mul", [times, y], shapes=shapes, dtypes=dtypes).output[0]
    graph.make_node("Sub", [x, whole], outputs=outputs, shapes=shapes, dtypes=dtypes)


def _taken(graph: "Graph", node: "Node") -> tuple:
    """Take a node of two operands out of the graph, and return these, and what it gave."""
    x, y = node.input
    found = (x, y, node.output_shapes, node.output_dtypes, node.output)
    graph.remove_node(node.name)
    return found


_LOWERED = {
    "Erfc": _erfc,
    "Expm1": _expm1,
    "FloorDiv": _floor_div,
    "FloorMod": _floor_mod,
    "Log1p": _log1p,
}


def _refuse_unknown(model: onnx.ModelProto, network: str) -> None:
    for node in model.graph.node:
        if not onnx.defs.has(node.op_type, node.domain):
            layer = "/".join(node.name.split("/")[1:-1]) or node.name
            raise UserError(
                f"{network!r} computes {node.op_type} in {layer!r}, for which ONNX has no operator: replace that "
                "layer, or export another format."
            )
