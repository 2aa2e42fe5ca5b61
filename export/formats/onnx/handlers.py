"""Each layer that has a direct ONNX translation. A handler gets (emitter, layer, inputs) and returns its output.

Values of rank 4 are pictures in NCHW; all others have the axes of Keras.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

    from .traversal import Emitter

_END = 2**31 - 1
_NHWC_TO_NCHW_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}


class Unsupported(Exception):
    """The network can't be translated directly; the message says what in it."""


@dataclass(frozen=True)
class Value:
    """A tensor of the ONNX graph: its name and rank."""

    name: str
    rank: int


Handler = Callable[["Emitter", "keras.Layer", list[Value]], Value]


def conv(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    weights = _array(layer.kernel).transpose(3, 2, 0, 1)  # HWIO to OIHW
    return _convolution(emitter, layer, inputs, weights, layer.groups)


def depthwise_conv(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    kernel = _array(layer.kernel)  # [height, width, channels, multiplier]
    height, width, channels, multiplier = kernel.shape
    weights = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _convolution(emitter, layer, inputs, weights, channels)


def _convolution(
    emitter: "Emitter", layer: "keras.Layer", inputs: list[Value], weights: np.ndarray, groups: int
) -> Value:
    names = [inputs[0].name, emitter.constant(np.ascontiguousarray(weights)), *_bias(emitter, layer)]
    attributes = {"strides": list(layer.strides), "dilations": list(layer.dilation_rate), "group": groups}
    attributes |= _padding(layer, layer.kernel_size, layer.dilation_rate)
    return _activated(emitter, layer, Value(emitter.node("Conv", names, **attributes), 4))


def _padding(layer: "keras.Layer", kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> dict:
    if layer.padding == "valid":
        return {"pads": [0, 0, 0, 0]}
    if layer.padding != "same":
        raise Unsupported(f"the layer {layer.name!r} has the padding {layer.padding!r}")
    if tuple(layer.strides) != (1, 1):
        return {"auto_pad": "SAME_UPPER"}  # what TensorFlow pads depends on the picture's size
    total = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    return {"pads": [t // 2 for t in total] + [t - t // 2 for t in total]}


def conv_transpose(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    if tuple(layer.dilation_rate) != (1, 1) or layer.output_padding is not None:
        raise Unsupported(f"the layer {layer.name!r} has a dilation or an output padding")
    pairs = list(zip(layer.kernel_size, layer.strides, strict=True))
    total = [max(k - s, 0) if layer.padding == "same" else 0 for k, s in pairs]
    names = [
        inputs[0].name,
        emitter.constant(np.ascontiguousarray(_array(layer.kernel).transpose(3, 2, 0, 1))),  # HWOI to IOHW
        *_bias(emitter, layer),
    ]
    output = emitter.node(
        "ConvTranspose",
        names,
        strides=list(layer.strides),
        pads=[t // 2 for t in total] + [t - t // 2 for t in total],
        output_padding=[max(s - k, 0) for k, s in pairs],
    )
    return _activated(emitter, layer, Value(output, 4))


def dense(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    if inputs[0].rank != 2:
        raise Unsupported(f"the layer {layer.name!r} is a Dense on a tensor of rank {inputs[0].rank}")
    names = [inputs[0].name, emitter.constant(_array(layer.kernel)), *_bias(emitter, layer)]
    return _activated(emitter, layer, Value(emitter.node("Gemm", names), 2))


def instance_norm(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    channels = layer.input.shape[-1]
    return _instance_norm(emitter, inputs[0], layer.epsilon, *_ones_and_zeros(channels))


def _instance_norm(emitter: "Emitter", value: Value, epsilon: float, scale: np.ndarray, offset: np.ndarray) -> Value:
    names = [value.name, emitter.constant(scale), emitter.constant(offset)]
    return Value(emitter.node("InstanceNormalization", names, epsilon=epsilon), value.rank)


def group_norm(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    value, channels = inputs[0], layer.input.shape[-1]
    if value.rank != 4 or layer.axis not in (-1, 3):
        raise Unsupported(f"the layer {layer.name!r} normalizes another axis than a picture's channels")
    ones, zeros = _ones_and_zeros(channels)
    scale = _array(layer.gamma) if layer.scale else ones
    offset = _array(layer.beta) if layer.center else zeros
    if layer.groups in (-1, channels):
        return _instance_norm(emitter, value, layer.epsilon, scale, offset)
    grouped = emitter.node("Reshape", [value.name, emitter.integers([0, layer.groups, -1])])
    normed = _instance_norm(emitter, Value(grouped, 3), layer.epsilon, *_ones_and_zeros(layer.groups))
    output = emitter.node("Reshape", [normed.name, emitter.node("Shape", [value.name])])
    output = emitter.node("Mul", [output, emitter.constant(scale.reshape(-1, 1, 1))])
    return Value(emitter.node("Add", [output, emitter.constant(offset.reshape(-1, 1, 1))]), 4)


def batch_norm(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    if inputs[0].rank not in (2, 4) or axis not in (-1, inputs[0].rank - 1):
        raise Unsupported(f"the layer {layer.name!r} normalizes another axis than the last")
    ones, zeros = _ones_and_zeros(layer.moving_mean.shape[0])
    scale = _array(layer.gamma) if layer.scale else ones
    offset = _array(layer.beta) if layer.center else zeros
    arrays = [scale, offset, _array(layer.moving_mean), _array(layer.moving_variance)]
    names = [inputs[0].name, *(emitter.constant(a) for a in arrays)]
    return Value(emitter.node("BatchNormalization", names, epsilon=layer.epsilon), inputs[0].rank)


def reflection_padding(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    pads = emitter.integers([0, 0, layer.padding, layer.padding] * 2)
    return Value(emitter.node("Pad", [inputs[0].name, pads], mode="reflect"), 4)


def zero_padding(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    (top, bottom), (left, right) = layer.padding
    pads = emitter.integers([0, 0, top, left, 0, 0, bottom, right])
    return Value(emitter.node("Pad", [inputs[0].name, pads], mode="constant"), 4)


def cropping(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    (top, bottom), (left, right) = layer.cropping
    ends = [-bottom or _END, -right or _END]
    parts = [emitter.integers(values) for values in ([top, left], ends, [2, 3])]
    return Value(emitter.node("Slice", [inputs[0].name, *parts]), 4)


def upsampling(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    modes = {
        "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    }
    if layer.interpolation not in modes:
        raise Unsupported(f"the layer {layer.name!r} enlarges by {layer.interpolation}")
    scales = emitter.constant(np.array([1, 1, *layer.size], "float32"))
    return Value(emitter.node("Resize", [inputs[0].name, "", scales], **modes[layer.interpolation]), 4)


def pooling(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    kind = "MaxPool" if type(layer).__name__.startswith("Max") else "AveragePool"
    attributes = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    return Value(emitter.node(kind, [inputs[0].name], **attributes, **_padding(layer, layer.pool_size)), 4)


def global_pooling(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    kind = "GlobalMaxPool" if "Max" in type(layer).__name__ else "GlobalAveragePool"
    pooled = emitter.node(kind, [inputs[0].name])
    return Value(pooled, 4) if layer.keepdims else Value(emitter.node("Flatten", [pooled]), 2)


def reshape(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    target = [-1] if type(layer).__name__ == "Flatten" else list(layer.target_shape)
    name = inputs[0].name
    if inputs[0].rank == 4:
        name = emitter.node("Transpose", [name], perm=[0, 2, 3, 1])
    name = emitter.node("Reshape", [name, emitter.integers([0, *target])])
    if len(target) == 3:
        name = emitter.node("Transpose", [name], perm=[0, 3, 1, 2])
    return Value(name, len(target) + 1)


def elementwise(kind: str) -> Handler:
    def merge(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
        if len({value.rank for value in inputs}) != 1:
            raise Unsupported(f"the layer {layer.name!r} combines tensors of different ranks")
        name = inputs[0].name
        for value in inputs[1:]:
            name = emitter.node(kind, [name, value.name])
        return Value(name, inputs[0].rank)

    return merge


def concatenate(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    rank = inputs[0].rank
    axis = layer.axis % rank
    axis = _NHWC_TO_NCHW_AXIS[axis] if rank == 4 else axis
    return Value(emitter.node("Concat", [value.name for value in inputs], axis=axis), rank)


def identity(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    return inputs[0]


def rescaling(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    if np.size(layer.scale) != 1 or np.size(layer.offset) != 1:
        raise Unsupported(f"the layer {layer.name!r} scales each channel differently")
    name = emitter.node("Mul", [inputs[0].name, emitter.scalar(float(layer.scale))])
    name = emitter.node("Add", [name, emitter.scalar(float(layer.offset))])
    return Value(name, inputs[0].rank)


def activation(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    return _activated(emitter, layer, inputs[0])


def relu(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    value = inputs[0]
    if layer.threshold or (layer.negative_slope and layer.max_value is not None):
        raise Unsupported(f"the layer {layer.name!r} has a threshold, or both a slope and a maximum")
    if layer.negative_slope:
        return leaky_relu(emitter, layer, inputs)
    if layer.max_value is not None:
        return _clip(emitter, value, layer.max_value)
    return Value(emitter.node("Relu", [value.name]), value.rank)


def leaky_relu(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    name = emitter.node("LeakyRelu", [inputs[0].name], alpha=float(layer.negative_slope))
    return Value(name, inputs[0].rank)


def softmax(emitter: "Emitter", layer: "keras.Layer", inputs: list[Value]) -> Value:
    if layer.axis != -1:
        raise Unsupported(f"the layer {layer.name!r} is a softmax over another axis than the last")
    return _softmax(emitter, inputs[0])


_SIMPLE = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "exponential": "Exp",
    "elu": "Elu",
    "selu": "Selu",
}


def _activated(emitter: "Emitter", layer: "keras.Layer", value: Value) -> Value:
    """Append the activation function of a layer."""
    function = layer.activation
    name = getattr(function, "__name__", type(function).__name__)
    if not getattr(function, "__module__", "").startswith("keras."):
        raise Unsupported(f"the layer {layer.name!r} has the activation {name!r}, which is not Keras' own")
    if name == "linear":
        return value
    if name in _SIMPLE:
        return Value(emitter.node(_SIMPLE[name], [value.name]), value.rank)
    if name == "leaky_relu":
        return Value(emitter.node("LeakyRelu", [value.name], alpha=0.2), value.rank)
    if name == "relu6":
        return _clip(emitter, value, 6.0)
    if name == "silu":
        gate = emitter.node("Sigmoid", [value.name])
        return Value(emitter.node("Mul", [value.name, gate]), value.rank)
    if name == "softmax":
        return _softmax(emitter, value)
    raise Unsupported(f"the layer {layer.name!r} has the activation {name!r}, which has no direct translation")


def _softmax(emitter: "Emitter", value: Value) -> Value:
    return Value(emitter.node("Softmax", [value.name], axis=1 if value.rank == 4 else -1), value.rank)


def _clip(emitter: "Emitter", value: Value, most: float) -> Value:
    limits = [emitter.scalar(limit) for limit in (0.0, most)]
    return Value(emitter.node("Clip", [value.name, *limits]), value.rank)


def _bias(emitter: "Emitter", layer: "keras.Layer") -> list[str]:
    return [emitter.constant(_array(layer.bias))] if layer.use_bias else []


def _array(variable: "keras.Variable") -> np.ndarray:
    return np.asarray(variable.numpy(), "float32")


def _ones_and_zeros(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.ones(count, "float32"), np.zeros(count, "float32")


HANDLERS: dict[str, Handler] = {
    "Activation": activation,
    "ActivityRegularization": identity,
    "Add": elementwise("Add"),
    "AveragePooling2D": pooling,
    "BatchNormalization": batch_norm,
    "Concatenate": concatenate,
    "Conv2D": conv,
    "Conv2DTranspose": conv_transpose,
    "Cropping2D": cropping,
    "Dense": dense,
    "DepthwiseConv2D": depthwise_conv,
    "Dropout": identity,
    "Flatten": reshape,
    "GaussianNoise": identity,
    "GlobalAveragePooling2D": global_pooling,
    "GlobalMaxPooling2D": global_pooling,
    "GroupNormalization": group_norm,
    "Identity": identity,
    "InstanceNormalization": instance_norm,
    "LeakyReLU": leaky_relu,
    "MaxPooling2D": pooling,
    "Multiply": elementwise("Mul"),
    "ReLU": relu,
    "ReflectionPadding2D": reflection_padding,
    "Rescaling": rescaling,
    "Reshape": reshape,
    "Softmax": softmax,
    "SpatialDropout2D": identity,
    "Subtract": elementwise("Sub"),
    "SyncBatchNormalization": batch_norm,
    "UpSampling2D": upsampling,
    "ZeroPadding2D": zero_padding,
}
