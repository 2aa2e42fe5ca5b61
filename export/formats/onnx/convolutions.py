"""Convolutions of all kinds, dense layers and pooling."""

from collections.abc import Sequence

import keras
import numpy as np

from .activations import activated
from .call import Call
from .graph import Value


def conv(call: Call) -> Value:
    kernel = _array(call.operation.kernel)
    return _convolution(call, call.picture(), _outputs_first(kernel), call.operation.groups)


def depthwise_conv(call: Call) -> Value:
    kernel = _array(call.operation.kernel)  # [height, width, channels, multiplier]
    return _convolution(call, call.picture(), _depthwise(kernel), kernel.shape[-2])


def separable_conv(call: Call) -> Value:
    layer = call.operation
    depthwise, pointwise = _array(layer.depthwise_kernel), _array(layer.pointwise_kernel)
    names = [call.picture(), call.graph.constant(_depthwise(depthwise))]
    attributes: dict[str, object] = {"strides": list(layer.strides), "dilations": list(layer.dilation_rate)}
    attributes |= {"group": depthwise.shape[-2], **padding(call, layer.kernel_size, layer.dilation_rate)}
    spread = call.graph.node("Conv", names, **attributes)
    names = [spread, call.graph.constant(_outputs_first(pointwise)), *_bias(call)]
    return _activated(call, call.picture_result(call.graph.node("Conv", names)))


def _convolution(call: Call, picture: str, weights: np.ndarray, groups: int) -> Value:
    layer = call.operation
    names = [picture, call.graph.constant(weights), *_bias(call)]
    attributes = padding(call, layer.kernel_size, layer.dilation_rate)
    attributes |= {"strides": list(layer.strides), "dilations": list(layer.dilation_rate), "group": groups}
    return _activated(call, call.picture_result(call.graph.node("Conv", names, **attributes)))


def padding(call: Call, kernel: Sequence[int], dilation: Sequence[int]) -> dict[str, object]:
    """Return the attributes of a convolution or pooling for Keras' padding."""
    kind = call.operation.padding
    if kind == "valid":
        return {"pads": [0] * 2 * len(kernel)}
    if kind != "same":
        raise call.refused(f"has the padding {kind!r}")
    if set(call.operation.strides) != {1}:
        return {"auto_pad": "SAME_UPPER"}  # what TensorFlow pads depends on the picture's size
    total = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    return {"pads": [t // 2 for t in total] + [t - t // 2 for t in total]}


def conv_transpose(call: Call) -> Value:
    layer = call.operation
    wide = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    total = [_cut(call, k, s, axis) for axis, (k, s) in enumerate(zip(wide, layer.strides, strict=True))]
    cut = [max(t, 0) for t in total]
    names = [call.picture(), call.graph.constant(_outputs_first(_array(layer.kernel))), *_bias(call)]
    output = call.graph.node(
        "ConvTranspose",
        names,
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        pads=[t // 2 for t in cut] + [t - t // 2 for t in cut],
        output_padding=[max(-t, 0) for t in total],
    )
    return _activated(call, call.picture_result(output))


def _cut(call: Call, kernel: int, stride: int, axis: int) -> int:
    """Return how much less than the full transposed convolution Keras gives; negative is more."""
    layer = call.operation
    if layer.output_padding is None:
        return kernel - stride if layer.padding == "same" else min(kernel - stride, 0)
    more = layer.output_padding
    more = more[axis] if isinstance(more, (tuple, list)) else more
    return 2 * (kernel // 2) - more if layer.padding == "same" else -more


def dense(call: Call) -> Value:
    layer, value, graph = call.operation, call.input, call.graph
    kernel = _array(layer.kernel)
    if value.rank == 2:
        name = graph.node("Gemm", [value.name, graph.constant(kernel), *_bias(call)])
        return _activated(call, call.result(name))
    if value.moved:
        # Where the channels come first, it is a convolution of single pixels.
        weights = kernel.T.reshape(*kernel.T.shape, *[1] * (value.rank - 2))
        name = graph.node("Conv", [value.name, graph.constant(weights), *_bias(call)])
        return _activated(call, call.result(name, moved=True))
    name = graph.node("MatMul", [value.name, graph.constant(kernel)])
    name = graph.node("Add", [name, *_bias(call)]) if layer.use_bias else name
    return _activated(call, call.result(name))


def max_pooling(call: Call) -> Value:
    return _pooling(call, "MaxPool")


def average_pooling(call: Call) -> Value:
    return _pooling(call, "AveragePool")


def _pooling(call: Call, kind: str) -> Value:
    layer = call.operation
    attributes = padding(call, layer.pool_size, [1] * len(layer.pool_size))
    attributes |= {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    return call.picture_result(call.graph.node(kind, [call.picture()], **attributes))


def global_max_pooling(call: Call) -> Value:
    return _global_pooling(call, "GlobalMaxPool")


def global_average_pooling(call: Call) -> Value:
    if call.graph.half:
        # A row's means first: the sum of a large picture's pixels does not fit in 16 bits.
        name = call.picture()
        for axis in reversed(range(2, call.input.rank)):
            name = call.graph.reduced("ReduceMean", name, [axis])
        return _squeezed(call, name)
    return _global_pooling(call, "GlobalAveragePool")


def _global_pooling(call: Call, kind: str) -> Value:
    return _squeezed(call, call.graph.node(kind, [call.picture()]))


def _squeezed(call: Call, pooled: str) -> Value:
    if call.operation.keepdims:
        return call.picture_result(pooled)
    return call.result(call.graph.node("Flatten", [pooled]))


def embedding(call: Call) -> Value:
    if call.operation.mask_zero:
        raise call.refused("makes a mask")
    indices = call.graph.channels_last(call.graph.cast(call.input, "int64"))
    table = call.graph.constant(_array(call.operation.embeddings))
    return call.result(call.graph.node("Gather", [table, indices.name]))


def _activated(call: Call, value: Value) -> Value:
    return activated(call.graph, call.operation.activation, value, call.operation.name)


def _bias(call: Call) -> list[str]:
    return [call.graph.constant(_array(call.operation.bias))] if call.operation.use_bias else []


def _outputs_first(kernel: np.ndarray) -> np.ndarray:
    """Bring a kernel from Keras' axes, [..., in, out], to ONNX' [out, in, ...]; transposed ones likewise."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _depthwise(kernel: np.ndarray) -> np.ndarray:
    channels, multiplier = kernel.shape[-2:]
    return np.moveaxis(kernel, (-2, -1), (0, 1)).reshape(channels * multiplier, 1, *kernel.shape[:-2])


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(variable.numpy(), "float32")
