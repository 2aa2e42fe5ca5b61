"""Give a network the form that mobile runtimes run fast, before it becomes TFLite; its output stays the same.

XNNPACK doesn't take MIRROR_PAD, and a group normalization makes five-dimensional tensors that no GPU delegate takes:
both split the graph. Here a mirror is slices and concatenations, and a norm four-dimensional arithmetic.
"""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ...contract.signature import Signature


def rewritten(signature: "Signature") -> "Signature":
    """Return the network with its norms and mirrors replaced; all its weights are shared, not copied.

    A model that isn't functional is returned as it is: its graph can't be taken apart.
    """
    import keras

    model = signature.model
    if not getattr(model, "inputs", None):
        return signature
    clone = keras.models.clone_model(model, clone_function=_replacement, recursive=True)
    structure = clone.inputs[0] if isinstance(clone, keras.Sequential) else clone.input

    def call(tensors: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        packed = keras.tree.pack_sequence_as(structure, [tensors[name] for name in signature.inputs])
        outputs = keras.tree.flatten(clone(packed, training=False))
        return dict(zip(signature.outputs, outputs, strict=True))

    return dataclasses.replace(signature, model=clone, network_call=call)


def _replacement(layer: "keras.Layer") -> "keras.Layer":
    import keras

    from kerasgen.layers import ReflectionPadding2D

    # Exact classes: a subclass may compute something else.
    if type(layer) is ReflectionPadding2D:
        return _as_layer(layer, _mirror)
    picture = type(layer) is keras.layers.GroupNormalization and len(layer.input.shape) == 4
    if picture and layer.axis in (-1, 3):
        return _as_layer(layer, _group_norm)
    return layer


def _as_layer(original: "keras.Layer", function: object) -> "keras.Layer":
    import keras

    class Rewritten(keras.layers.Layer):
        """Another way to compute what `original` does, with its weights."""

        def __init__(self):
            super().__init__(name=original.name, dtype=original.dtype_policy)
            self.original = original

        def call(self, inputs):
            return function(self.original, inputs)

        def compute_output_shape(self, input_shape):
            return self.original.compute_output_shape(input_shape)

    return Rewritten()


def _mirror(layer: "keras.Layer", x: "tf.Tensor") -> "tf.Tensor":
    """Reflect one ring of pixels at a time: no concatenation has more than three inputs, as XNNPACK wants."""
    from keras import ops

    for axis in (1, 2):
        for ring in range(1, layer.padding + 1):
            # There are ring - 1 rows outside already; the picture's own row `ring` is the next.
            size = x.shape[axis]
            before = _slice(x, axis, 2 * ring - 1)
            after = _slice(x, axis, size - 2 * ring)
            x = ops.concatenate([before, x, after], axis=axis)
    return x


def _slice(x: "tf.Tensor", axis: int, index: int) -> "tf.Tensor":
    from keras import ops

    start, shape = [0] * 4, list(x.shape)
    start[axis], shape[axis] = index, 1
    return ops.slice(x, start, shape)


def _group_norm(layer: "keras.Layer", x: "tf.Tensor") -> "tf.Tensor":
    from keras import ops

    channels = x.shape[-1]
    groups = channels if layer.groups == -1 else layer.groups
    x = ops.cast(x, "float32")
    centered = x - _group_mean(x, groups)
    normed = centered * ops.rsqrt(_group_mean(centered * centered, groups) + layer.epsilon)
    if layer.scale:
        normed = normed * ops.cast(layer.gamma, "float32")
    if layer.center:
        normed = normed + ops.cast(layer.beta, "float32")
    return ops.cast(normed, layer.compute_dtype)


def _group_mean(x: "tf.Tensor", groups: int) -> "tf.Tensor":
    """Return the means over pixels and each group's channels, as [batch, 1, 1, channels]."""
    from keras import ops

    means = ops.mean(x, axis=(1, 2), keepdims=True)
    channels = x.shape[-1]
    if groups == channels:
        return means
    grouped = ops.mean(ops.reshape(means, (-1, 1, groups, channels // groups)), axis=3, keepdims=True)
    repeated = grouped * ops.ones((1, 1, 1, channels // groups))
    return ops.reshape(repeated, (-1, 1, 1, channels))
