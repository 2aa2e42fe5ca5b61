"""Normalizations, in one operator where ONNX has it, and in a form whose sums stay below 65,504 for 16 bits.

That form takes the mean of a row's means, so that no sum has more terms than a picture has columns, and divides the
centered values by the largest of them before they are squared. The result is the same, whatever they are divided by.
"""

import math

import keras
import numpy as np

from .arithmetic import broadcast, combined
from .call import Call, as_array
from .graph import Graph, Unsupported, Value

# Sums of means are taken of a 64th: the row's sum then holds for means up to 8,192 at 512 columns.
_SHARE = 2.0**-6
# Scaled values reach 4: their squares' sum holds for 4,096 columns. One of them alone makes a variance of 16 over the
# count, which is a normal number for 512 x 512 values; only the sum with epsilon is kept above the least of those,
# because epsilon by itself may be nothing beside the variance of a map with few large values.
_REACH = 4.0
_LEAST_NORMAL = 6.2e-5
_LEAST_SCALE = 2.0**-10


def normalized(
    graph: Graph, value: Value, axes: list[int], epsilon: float, groups: int | None = None, mean: bool = True
) -> Value:
    """Return (x - mean) / sqrt(variance + epsilon) over some of Keras' axes.

    Args:
        graph: that the operators are appended to.
        value: what is normalized.
        axes: without the channels, where `groups` are given.
        epsilon: added to the variance.
        groups: of channels that are taken together.
        mean: whether the mean is subtracted.
    """
    at = sorted(value.axis(axis) for axis in axes)
    form = _in_half if graph.half else _in_float
    name = form(graph, value.name, at, epsilon, (groups, value.shape[-1], value.rank), mean)
    return Value(name, value.shape, value.dtype, value.moved)


def _in_float(graph: Graph, name: str, axes: list[int], epsilon: float, groups: tuple, mean: bool) -> str:
    if mean:
        name = graph.node("Sub", [name, _pooled(graph, "ReduceMean", name, axes, groups)])
    variance = _pooled(graph, "ReduceMean", graph.node("Mul", [name, name]), axes, groups)
    deviation = graph.node("Sqrt", [graph.node("Add", [variance, graph.scalar(epsilon)])])
    return graph.node("Div", [name, deviation])


def _in_half(graph: Graph, name: str, axes: list[int], epsilon: float, groups: tuple, mean: bool) -> str:
    if mean:
        share = graph.node("Mul", [name, graph.scalar(_SHARE)])
        middle = graph.node("Mul", [_pooled(graph, "ReduceMean", share, axes, groups), graph.scalar(1 / _SHARE)])
        name = graph.node("Sub", [name, middle])
    root = math.sqrt(epsilon)
    largest = _pooled(graph, "ReduceMax", graph.node("Abs", [name]), axes, groups)
    # Not below this, because epsilon is divided by it too, and squared.
    largest = graph.node("Clip", [largest, graph.scalar(max(_LEAST_SCALE, root / 32))])
    scale = graph.node("Div", [graph.scalar(_REACH), largest])
    scaled = graph.node("Mul", [name, scale])
    variance = _pooled(graph, "ReduceMean", graph.node("Mul", [scaled, scaled]), axes, groups)
    small = graph.node("Mul", [scale, graph.scalar(root)])
    variance = graph.node("Add", [variance, graph.node("Mul", [small, small])])
    deviation = graph.node("Sqrt", [graph.node("Clip", [variance, graph.scalar(_LEAST_NORMAL)])])
    return graph.node("Div", [scaled, deviation])


def _pooled(graph: Graph, kind: str, name: str, axes: list[int], groups: tuple) -> str:
    """Return a reduction over axes, and over each group's channels if there are groups, with all axes kept."""
    # In 16 bits one axis after the other: the sum of a whole picture's pixels would overflow.
    for some in [[axis] for axis in reversed(axes)] if graph.half else [axes]:
        name = graph.reduced(kind, name, some) if some else name
    count, channels, rank = groups
    if count in (None, channels):
        return name
    ones = [1] * (rank - 2)
    name = graph.node("Reshape", [name, graph.integers([0, count, channels // count])])
    name = graph.reduced(kind, name, [2])
    name = graph.node("Expand", [name, graph.integers([1, 1, channels // count])])
    return graph.node("Reshape", [name, graph.integers([0, channels, *ones])])


def scaled_and_shifted(graph: Graph, value: Value, scale: np.ndarray | None, offset: np.ndarray | None) -> Value:
    """Return value · scale + offset, each an array that broadcasts against Keras' axes, or None."""
    for kind, array in (("Mul", scale), ("Add", offset)):
        if array is not None:
            value = broadcast(graph, kind, [value, graph.value_of(array.astype("float32"))])
    return value


def instance_norm(call: Call) -> Value:
    layer = call.operation
    learned = [_array(variable) if layer.affine else None for variable in (layer.gamma, layer.beta)]
    return _instance_norm(call.graph, call.graph.channels_first(call.input), layer.epsilon, *learned)


def _instance_norm(
    graph: Graph, value: Value, epsilon: float, scale: np.ndarray | None = None, offset: np.ndarray | None = None
) -> Value:
    if graph.half:
        value = normalized(graph, value, list(range(1, value.rank - 1)), epsilon)
        return scaled_and_shifted(graph, value, scale, offset)
    channels = value.shape[-1]
    if channels is None:
        raise Unsupported("an instance normalization takes any number of channels")
    scale = np.ones(channels, "float32") if scale is None else scale
    offset = np.zeros(channels, "float32") if offset is None else offset
    names = [value.name, graph.constant(scale), graph.constant(offset)]
    name = graph.node("InstanceNormalization", names, epsilon=epsilon)
    return Value(name, value.shape, value.dtype, value.moved)


def group_norm(call: Call) -> Value:
    graph, layer = call.graph, call.operation
    value = graph.channels_first(call.input)
    if value.rank < 3 or layer.axis not in (-1, value.rank - 1):
        raise call.refused("normalizes another axis than the channels of pictures")
    channels = value.shape[-1]
    scale = _array(layer.gamma) if layer.scale else None
    offset = _array(layer.beta) if layer.center else None
    if layer.groups in (-1, channels):
        return _instance_norm(graph, value, layer.epsilon, scale, offset)
    if graph.half:
        value = normalized(graph, value, list(range(1, value.rank - 1)), layer.epsilon, layer.groups)
        return scaled_and_shifted(graph, value, scale, offset)
    grouped = graph.node("Reshape", [value.name, graph.integers([0, layer.groups, -1])])
    normed = _instance_norm(graph, Value(grouped, (None, None, layer.groups), moved=True), layer.epsilon)
    output = graph.node("Reshape", [normed.name, graph.node("Shape", [value.name])])
    return scaled_and_shifted(graph, Value(output, value.shape, value.dtype, True), scale, offset)


def layer_norm(call: Call) -> Value:
    graph, layer, value = call.graph, call.operation, call.input
    if layer.rms_scaling:
        raise call.refused("scales by the root mean square")
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    axes = [axis % value.rank for axis in axes]
    normed = normalized(graph, value, axes, layer.epsilon)
    # A layer with weights has known sizes along its axes.
    shape = [size if axis in axes and size is not None else 1 for axis, size in enumerate(value.shape)]
    scale = _array(layer.gamma).reshape(shape) if layer.scale else None
    offset = _array(layer.beta).reshape(shape) if layer.center else None
    return scaled_and_shifted(graph, normed, scale, offset)


def batch_norm(call: Call) -> Value:
    graph, layer, value = call.graph, call.operation, call.input
    axis = (layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis) % value.rank
    count = layer.moving_mean.shape[0]
    scale = _array(layer.gamma) if layer.scale else np.ones(count, "float32")
    offset = _array(layer.beta) if layer.center else np.zeros(count, "float32")
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    if axis == value.rank - 1:
        value = graph.channels_first(value)
        names = [value.name, *(graph.constant(a) for a in (scale, offset, mean, variance))]
        name = graph.node("BatchNormalization", names, epsilon=layer.epsilon)
        return Value(name, value.shape, value.dtype, value.moved)
    shape = [count if a == axis else 1 for a in range(value.rank)]
    scale = scale / np.sqrt(variance + layer.epsilon)
    offset = offset - mean * scale
    return scaled_and_shifted(graph, value, scale.reshape(shape), offset.reshape(shape))


def normalization(call: Call) -> Value:
    """Translate the preprocessing layer of a known mean and variance."""
    layer = call.operation
    mean, variance = as_array(layer.mean).astype("float32"), as_array(layer.variance).astype("float32")
    deviation = np.maximum(np.sqrt(variance), np.float32(keras.config.epsilon()))
    value = call.graph.cast(call.input, "float32")
    if layer.invert:
        return scaled_and_shifted(call.graph, value, deviation, mean)
    return scaled_and_shifted(call.graph, value, 1 / deviation, -mean / deviation)


def unit_norm(call: Call) -> Value:
    return divided_by_length(call, 1e-12)


def divided_by_length(call: Call, epsilon: float) -> Value:
    """Return the input over its length along the operation's axes, which counts as `epsilon` at least."""
    graph, value = call.graph, call.input
    axes = [call.operation.axis] if isinstance(call.operation.axis, int) else list(call.operation.axis)
    squares = combined(graph, "Mul", [value, value])
    length = graph.node("Sqrt", [graph.reduced("ReduceSum", squares.name, [value.axis(a) for a in axes])])
    length = graph.node("Max", [length, graph.scalar(epsilon)])
    return Value(graph.node("Div", [value.name, length]), value.shape, value.dtype, value.moved)


def layer_scale(call: Call) -> Value:
    return scaled_and_shifted(call.graph, call.input, _array(call.operation.gamma), None)


def rescaling(call: Call) -> Value:
    layer = call.operation
    scale, offset = (np.asarray(a, "float32") for a in (layer.scale, layer.offset))
    value = call.graph.cast(call.input, "float32")
    return scaled_and_shifted(call.graph, value, scale, offset)


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(variable.numpy(), "float32")
