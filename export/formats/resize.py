"""A resize of known sizes as numbers, for formats without an operator for its filter or with another rounding."""

import numpy as np


def resize_matrix(old: int, new: int, interpolation: str, antialias: bool) -> np.ndarray:
    """Return what Keras makes of `old` pixels in a row when it resizes them to `new`, as [new, old]."""
    import keras
    import tensorflow as tf

    units = np.eye(old, dtype="float32")[:, :, None, None]  # a batch of columns
    with tf.init_scope():  # even while another graph is traced
        resized = keras.ops.image.resize(units, (new, 1), interpolation=interpolation, antialias=antialias)
        return keras.ops.convert_to_numpy(resized)[:, :, 0, 0].T


def nearest_places(old: int, new: int) -> np.ndarray:
    """Return which of `old` pixels in a row Keras repeats at each of `new` places: int64 [new].

    Where a place lies between two pixels, what the runtimes take depends on their rounding.
    """
    return resize_matrix(old, new, "nearest", antialias=False).argmax(axis=1).astype(np.int64)
