"""A network for which the facts of a condition are settled: it takes pictures alone."""

from collections.abc import Sequence

import keras
from keras import ops


def told(network: keras.Model, numbers: Sequence[float]) -> keras.Model:
    """Return `network` for pictures of which the same is known: `[batch, H, W, channels - len(numbers)]`.

    Args:
        network: takes pictures `[batch, H, W, channels]`, the facts behind the pictures' own channels.
        numbers: the value of each fact, in [-1, 1].
    """
    pictures = keras.Input((*network.input_shape[1:3], network.input_shape[-1] - len(numbers)), name="image")
    empty = 0.0 * pictures[..., :1]
    beside = ops.concatenate([pictures, *(empty + float(number) for number in numbers)], axis=-1)
    return keras.Model(pictures, network(beside), name=network.name)
