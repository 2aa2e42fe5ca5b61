"""Give a network the form that mobile runtimes run fast, before it becomes TFLite; its output stays the same.

XNNPACK doesn't take MIRROR_PAD, and a group normalization makes five-dimensional tensors that no GPU delegate takes:
both split the graph. Here a mirror is slices and concatenations, and a norm four-dimensional arithmetic.
"""

import functools
from typing import TYPE_CHECKING

from ..resize import resize_matrix
from ..rewriting import as_layer, cloned, placed
from . import activations, norms

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ...contract.signature import Signature


def rewritten(signature: "Signature", half: bool = False) -> "Signature":
    """Return the network with its norms and mirrors replaced; all its weights are shared, not copied.

    A model that isn't functional is returned as it is: its graph can't be taken apart.

    Args:
        signature: of the network, as a client calls it.
        half: whether the file is for 16 bits. Its norms then sum nothing that 16 bits don't hold.
    """
    return cloned(signature, functools.partial(_replacement, half=half))


def _replacement(operation: "keras.Operation", half: bool) -> "keras.Operation":
    import keras

    from kerasgen.layers import GroupNormalization, InstanceNormalization, ReflectionPadding2D

    # Exact classes: a subclass may compute something else.
    kind = type(operation)
    if kind is ReflectionPadding2D:
        return as_layer(operation, _mirror)
    if kind is keras.layers.Resizing or (kind.__module__, kind.__name__) == ("keras.src.ops.image", "Resize"):
        return as_layer(operation, _resized) if _by_filter(operation) else operation
    if (kind.__module__, kind.__name__) == ("keras.src.ops.nn", "Normalize") and operation.order == 2:
        return as_layer(operation, norms.normalized)
    if kind is keras.layers.Dot and operation.normalize:
        return as_layer(operation, norms.cosine)
    if activation := activations.computed_by(operation):
        inner = activations.before_it(operation)
        return as_layer(operation, lambda _, x: activations.computed(activation, x if inner is None else inner(x)))
    if kind is keras.layers.UnitNormalization:
        return as_layer(operation, norms.unit_norm)
    if half and kind is InstanceNormalization:
        return as_layer(operation, norms.instance_norm)
    if half and kind is keras.layers.LayerNormalization and not operation.rms_scaling:
        return as_layer(operation, norms.layer_norm)
    picture = kind in (keras.layers.GroupNormalization, GroupNormalization) and len(operation.input.shape) == 4
    if picture and operation.axis in (-1, 3):
        return as_layer(operation, norms.group_norm_in_half if half else norms.group_norm)
    return placed(operation)


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


def _by_filter(operation: "keras.Operation") -> bool:
    """Say whether pictures are resized in a way that TFLite has no operator for, and to one size."""
    plain = operation.interpolation in ("nearest", "bilinear") and not operation.antialias
    odd = operation.crop_to_aspect_ratio or operation.pad_to_aspect_ratio or operation.data_format == "channels_first"
    return not plain and not odd


def _resized(operation: "keras.Operation", x: "tf.Tensor") -> "tf.Tensor":
    """Resize by a matrix product along each axis, which holds for any filter."""
    from keras import ops

    size = operation.size if hasattr(operation, "size") else (operation.height, operation.width)
    rows, columns = (
        resize_matrix(old, new, operation.interpolation, operation.antialias)
        for old, new in zip(x.shape[1:3], size, strict=True)
    )
    x = ops.transpose(ops.cast(x, "float32"), (0, 3, 1, 2))
    return ops.transpose(ops.matmul(rows, ops.matmul(x, columns.T)), (0, 2, 3, 1))
