"""Layers that move, join or pass on values, and layers that are activations."""

from collections.abc import Callable

import numpy as np

from .activations import activated, elu, relu, softmax
from .arithmetic import broadcast, combined, with_constant
from .call import Call
from .graph import Value

END = 2**31 - 1


def reflection_padding(call: Call) -> Value:
    value = call.graph.channels_first(call.input)
    p = call.operation.padding
    pads = call.graph.integers([0, 0, p, p] * 2)
    return call.result(call.graph.node("Pad", [value.name, pads], mode="reflect"), moved=True)


def zero_padding(call: Call) -> Value:
    before, after = zip(*call.operation.padding, strict=True)
    pads = call.graph.integers([0, 0, *before, 0, 0, *after])
    return call.picture_result(call.graph.node("Pad", [call.picture(), pads], mode="constant"))


def cropping(call: Call) -> Value:
    before, after = zip(*call.operation.cropping, strict=True)
    axes = list(range(2, 2 + len(before)))
    parts = [call.graph.integers(values) for values in (list(before), [-a or END for a in after], axes)]
    return call.picture_result(call.graph.node("Slice", [call.picture(), *parts]))


def flatten(call: Call) -> Value:
    if call.operation.data_format == "channels_first" and call.input.rank > 2:
        raise call.refused("is channels_first")
    return call.graph.reshaped(call.input, [0, -1], tuple(call.outputs[0].shape))


def reshape(call: Call) -> Value:
    sizes = [0, *call.operation.target_shape]
    return call.graph.reshaped(call.input, sizes, tuple(call.outputs[0].shape))


def permute(call: Call) -> Value:
    value = call.graph.channels_last(call.input)
    return call.result(call.graph.node("Transpose", [value.name], perm=[0, *call.operation.dims]))


def repeat_vector(call: Call) -> Value:
    name = call.graph.node("Unsqueeze", [call.input.name, call.graph.integers([1])])
    return call.result(call.graph.node("Tile", [name, call.graph.integers([1, call.operation.n, 1])]))


def elementwise(kind: str) -> Callable[[Call], Value]:
    """Return the handler of a layer that combines its inputs element by element."""

    def merge(call: Call) -> Value:
        if len({value.rank for value in call.inputs}) != 1:
            # Keras then adds axes after the batch's, as no operator does.
            raise call.refused("combines tensors of different ranks")
        return combined(call.graph, kind, call.inputs)

    return merge


def average(call: Call) -> Value:
    return with_constant(call.graph, "Mul", elementwise("Add")(call), 1 / len(call.inputs))


def concatenate(call: Call) -> Value:
    moved = all(value.moved for value in call.inputs)
    order = call.graph.channels_first if moved else call.graph.channels_last
    values = [order(value) for value in call.inputs]
    axis = values[0].axis(call.operation.axis)
    return call.result(call.graph.node("Concat", [value.name for value in values], axis=axis), moved)


def identity(call: Call) -> Value:
    return call.input


def activation(call: Call) -> Value:
    return activated(call.graph, call.operation.activation, call.input, call.operation.name)


def relu_layer(call: Call) -> Value:
    layer = call.operation
    return relu(call.graph, call.input, layer.negative_slope, layer.max_value, layer.threshold)


def leaky_relu_layer(call: Call) -> Value:
    return relu(call.graph, call.input, call.operation.negative_slope)


def elu_layer(call: Call) -> Value:
    return elu(call.graph, call.input, call.operation.alpha)


def softmax_layer(call: Call) -> Value:
    if not isinstance(call.operation.axis, int) or len(call.inputs) > 1:
        raise call.refused("is a softmax over several axes, or has a mask")
    return softmax(call.graph, call.input, call.operation.axis)


def prelu(call: Call) -> Value:
    slope = call.graph.value_of(np.asarray(call.operation.alpha.numpy(), "float32"))
    return broadcast(call.graph, "PRelu", [call.input, slope])
