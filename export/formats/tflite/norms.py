"""Normalizations as four-dimensional arithmetic; for 16 bits so that no sum exceeds 65,504.

That form takes the mean of a row's means, so that no sum has more terms than a picture has columns, and divides the
centered values by the largest of them before they are squared. The result is the same, whatever they are divided by.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# The same numbers as in formats/onnx/norms.py, for the same reasons.
_SHARE = 2.0**-6
_REACH = 4.0
_LEAST_NORMAL = 6.2e-5
_LEAST_SCALE = 2.0**-10


def group_norm(layer: "keras.Layer", x: "tf.Tensor") -> "tf.Tensor":
    from keras import ops

    groups = _groups(layer, x)
    x = ops.cast(x, "float32")
    centered = x - _over_groups(ops.mean, ops.mean(x, axis=(1, 2), keepdims=True), groups)
    variance = _over_groups(ops.mean, ops.mean(centered * centered, axis=(1, 2), keepdims=True), groups)
    normed = centered * ops.rsqrt(variance + layer.epsilon)
    return _scaled_and_shifted(layer, normed)


def group_norm_in_half(layer: "keras.Layer", x: "tf.Tensor") -> "tf.Tensor":
    return _scaled_and_shifted(layer, _in_half(x, (2, 1), layer.epsilon, _groups(layer, x)))


def instance_norm(layer: "keras.Layer", x: "tf.Tensor") -> "tf.Tensor":
    normed = _in_half(x, (2, 1), layer.epsilon, x.shape[-1])
    return normed * layer.gamma + layer.beta if layer.affine else normed


def unit_norm(layer: "keras.Layer", x: "tf.Tensor") -> "tf.Tensor":
    """Divide by the length; Keras multiplies by its inverse, which for zeros is NaN in XNNPACK."""
    return _divided(x, layer.axis, 1e-12)


def normalized(operation: "keras.Operation", x: "tf.Tensor") -> "tf.Tensor":
    """Divide by the length, as `unit_norm`, for keras.ops.normalize of order 2."""
    import keras

    return _divided(x, operation.axis, keras.config.epsilon() if operation.epsilon is None else operation.epsilon)


def cosine(layer: "keras.Layer", inputs: "list[tf.Tensor]") -> "tf.Tensor":
    """Compute Dot(normalize=True) of vectors of length 1, or of zeros."""
    import keras

    axes = layer.axes if isinstance(layer.axes, list | tuple) else (layer.axes,) * 2
    sides = [_divided(x, axis, keras.config.epsilon()) for x, axis in zip(inputs, axes, strict=True)]
    return keras.layers.Dot(layer.axes)(sides)


def _divided(x: "tf.Tensor", axis: int | tuple[int, ...], epsilon: float) -> "tf.Tensor":
    from keras import ops

    return x / ops.maximum(ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=True)), epsilon)


def layer_norm(layer: "keras.Layer", x: "tf.Tensor") -> "tf.Tensor":
    from keras import ops

    rank = len(x.shape)
    axes = sorted(axis % rank for axis in ([layer.axis] if isinstance(layer.axis, int) else layer.axis))
    normed = _in_half(x, axes[::-1], layer.epsilon, None)
    shape = [x.shape[axis] if axis in axes else 1 for axis in range(rank)]
    if layer.scale:
        normed = normed * ops.reshape(layer.gamma, shape)
    return normed + ops.reshape(layer.beta, shape) if layer.center else normed


def _groups(layer: "keras.Layer", x: "tf.Tensor") -> int:
    return x.shape[-1] if layer.groups == -1 else layer.groups


def _in_half(x: "tf.Tensor", axes: "tuple[int, ...] | list[int]", epsilon: float, groups: int | None) -> "tf.Tensor":
    """Return (x - mean) / sqrt(variance + epsilon), of one axis after the other, and of each group's channels."""
    from keras import ops

    x = ops.cast(x, "float32")
    x = x - _pooled(ops.mean, x * _SHARE, axes, groups) * (1 / _SHARE)
    root = math.sqrt(epsilon)
    # Not below this, because epsilon is divided by it too, and squared.
    largest = ops.maximum(_pooled(ops.max, ops.abs(x), axes, groups), max(_LEAST_SCALE, root / 32))
    scale = _REACH / largest
    scaled = x * scale
    variance = _pooled(ops.mean, scaled * scaled, axes, groups)
    variance = variance + ops.square(scale * root)
    return scaled * ops.rsqrt(ops.maximum(variance, _LEAST_NORMAL))


def _pooled(
    function: "Callable[..., tf.Tensor]", x: "tf.Tensor", axes: "tuple[int, ...] | list[int]", groups: int | None
) -> "tf.Tensor":
    for axis in axes:
        x = function(x, axis=axis, keepdims=True)
    return x if groups is None else _over_groups(function, x, groups)


def _over_groups(function: "Callable[..., tf.Tensor]", pooled: "tf.Tensor", groups: int) -> "tf.Tensor":
    """Return [batch, 1, 1, channels] with each channel's value that of its group."""
    from keras import ops

    channels = pooled.shape[-1]
    if groups == channels:
        return pooled
    grouped = function(ops.reshape(pooled, (-1, 1, groups, channels // groups)), axis=3, keepdims=True)
    repeated = grouped * ops.ones((1, 1, 1, channels // groups))
    return ops.reshape(repeated, (-1, 1, 1, channels))


def _scaled_and_shifted(layer: "keras.Layer", normed: "tf.Tensor") -> "tf.Tensor":
    from keras import ops

    if layer.scale:
        normed = normed * ops.cast(layer.gamma, "float32")
    return normed + ops.cast(layer.beta, "float32") if layer.center else normed
