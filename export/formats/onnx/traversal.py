"""The direct way to ONNX: a functional Keras network, node by node, as the few operators that it is.

Pictures are NCHW inside, as ONNX wants them, with one Transpose at each picture that enters or leaves, so that
the artifact keeps the network's own NHWC signature; the layout "nchw" has none. Compared with a converted TensorFlow
graph that is a tenth of the nodes, and every instance normalization is one operator.
"""

from typing import TYPE_CHECKING

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper

from kerasgen.errors import a_kind
from kerasgen.keras_hooks import functional_form, given_to_inputs

from .arithmetic import with_constant
from .call import Call
from .graph import Graph, Unsupported, Value
from .handlers import OF_ANY_CALL, OF_ANY_DTYPE, handler_of

if TYPE_CHECKING:
    from ...contract.signature import Signature, TensorInfo

# The file format's version that belongs to each opset: old runtimes refuse newer ones.
IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10}


def emit(signature: "Signature", opset: int = 18, half: bool = False) -> onnx.ModelProto:
    """Return the ONNX model of a functional network.

    Args:
        signature: of the network, as a client calls it.
        opset: the version of the operators.
        half: whether the model will be brought to 16 bits: no sum in it then exceeds what they hold.

    Raises:
        Unsupported: a layer, or an option of one, has no direct translation; the message names it.
    """
    model = signature.model
    if functional_form(model) is None:
        raise Unsupported(f"{model.name!r} is not a functional model")
    graph = Graph(opset, half)
    outputs = _run(graph, model, [_enter(graph, signature, name) for name in signature.inputs])
    for name, value in zip(signature.outputs, outputs, strict=True):
        _leave(graph, signature, name, value)
    graph.drop_unread(list(signature.outputs))
    graph.merge_paddings()
    graph.merge_croppings()
    # What two open sizes of one name are must be equal.
    prefixes = {name: f"{name}_" if len(signature.inputs) > 1 else "" for name in signature.inputs}
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            model.name,
            [_described(signature, name, info, prefixes[name]) for name, info in signature.inputs.items()],
            [_described(signature, name, info, f"{name}_") for name, info in signature.outputs.items()],
            initializer=graph.used_initializers(),
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSIONS[opset],
        producer_name="kerasgen",
    )


def _enter(graph: Graph, signature: "Signature", name: str) -> Value:
    """Take an input from what a client sends to what the first layer takes."""
    info = signature.inputs[name]
    moved = signature.layout == "nchw" and len(info.shape) == 4
    shape = tuple(info.shape[axis] for axis in (0, 2, 3, 1)) if moved else tuple(info.shape)
    value = Value(name, shape, info.dtype, moved)
    image = signature.image_of(name)
    if image is None:
        return value
    value = graph.cast(graph.channels_first(value), "float32")
    value = with_constant(graph, "Mul", value, image.scale)
    return with_constant(graph, "Add", value, image.value_range[0])


def _leave(graph: Graph, signature: "Signature", name: str, value: Value) -> None:
    """Bring what the last layer gives to what a client gets, under its name."""
    image = signature.image_of(name)
    if image is not None:
        value = with_constant(graph, "Sub", value, image.value_range[0])
        value = with_constant(graph, "Mul", value, 1.0 / image.scale)
        last = graph.node("Clip", [value.name, graph.scalar(0.0), graph.scalar(255.0)])
        last = graph.node("Cast", [graph.node("Add", [last, graph.scalar(0.5)])], to=TensorProto.UINT8)
        value = Value(last, value.shape, "uint8", value.moved)
    graph.leave(value, name, first=signature.layout == "nchw" and value.rank == 4)


def _described(signature: "Signature", name: str, info: "TensorInfo", prefix: str) -> onnx.ValueInfoProto:
    # An output may have another size than the input: only the batch is surely the same.
    height = 2 if signature.layout == "nchw" else 1
    free = {0: "batch"} | ({height: f"{prefix}height", height + 1: f"{prefix}width"} if len(info.shape) == 4 else {})
    shape = [
        size if size is not None else free.get(axis, f"{prefix}size_{axis}") for axis, size in enumerate(info.shape)
    ]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype)), shape)


def _run(graph: Graph, model: keras.Model, inputs: list[Value]) -> list[Value]:
    """Emit a functional model, nested ones included, and return its outputs."""
    nodes = functional_form(model)
    if nodes is None:
        raise Unsupported(f"the nested model {model.name!r} is not functional")
    values = {id(tensor): value for tensor, value in zip(nodes.inputs, inputs, strict=True)}
    for depth in sorted(nodes._nodes_by_depth, reverse=True):
        for node in nodes._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = node.arguments.fill_in(values)
            found = _emitted(Call(graph, node.operation, args, kwargs, node.outputs))
            for tensor, value in zip(node.outputs, found, strict=True):
                values[id(tensor)] = value
    return [values[id(tensor)] for tensor in keras.tree.flatten(nodes.outputs)]


def _emitted(call: Call) -> list[Value]:
    operation = call.operation
    if isinstance(operation, keras.Layer) and type(operation) not in OF_ANY_CALL:
        _refuse_options(call)
    if isinstance(operation, keras.Model):
        return _run(call.graph, operation, given_to_inputs(operation, call.argument(0, "inputs")))
    handler = handler_of(operation)
    if handler is None:
        raise call.refused(f"is {a_kind(operation)}, which has no direct translation")
    if isinstance(operation, keras.Layer):
        if operation.compute_dtype != "float32":
            raise call.refused(f"computes in {operation.compute_dtype}")
        others = {value.dtype for value in call.inputs} - {"float32"}
        if others and type(operation) not in OF_ANY_DTYPE:
            raise call.refused(f"takes {', '.join(sorted(others))}")
    found = handler(call)
    return found if isinstance(found, list) else [found]


def _refuse_options(call: Call) -> None:
    """Refuse a call that says more than its inputs, such as `training=True`: the handlers don't read it."""
    more = keras.tree.flatten((call.args[1:], {n: v for n, v in call.kwargs.items() if n != "inputs"}))
    if any(option is not None and option is not False for option in more):
        raise call.refused("is called with more than its inputs")
