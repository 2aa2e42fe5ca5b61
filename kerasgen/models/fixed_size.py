"""Pictures of any size for a network that takes those of one."""

import keras
import tensorflow as tf

from kerasgen.typing import Tensor


def for_any_size(network: keras.Model) -> keras.Model:
    """Return a generator for pictures of any size: `[batch, H, W, channels]` in [-1, 1] → `[batch, s·H, s·W, …]`.

    Each picture is stretched to the size that the network takes, and what comes out is stretched back, bicubic and
    antialiased both times; s is how many times larger the network's own answers are.

    Args:
        network: takes `[batch, height, width, channels]` of one size, and gives pictures s times as high and wide.
    """
    pictures = keras.Input((None, None, network.input_shape[-1]), name="image")
    return keras.Model(pictures, _Stretched(network, name="stretched")(pictures), name=network.name)


class _Stretched(keras.layers.Layer):
    """Takes pictures to a network's size and its answers back to theirs."""

    def __init__(self, network: keras.Model, **options: str):
        super().__init__(**options, trainable=False)
        self.network = network
        self.scale = network.output_shape[1] // network.input_shape[1]

    def call(self, pictures: Tensor) -> Tensor:
        height, width = tf.unstack(tf.shape(pictures)[1:3])
        made = self.network(_stretched(pictures, self.network.input_shape[1:3]), training=False)
        return _stretched(made, (self.scale * height, self.scale * width))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        sides = (side and self.scale * side for side in input_shape[1:3])
        return (input_shape[0], *sides, self.network.output_shape[-1])


def _stretched(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pictures of a size; those that have it already as they are."""
    return tf.clip_by_value(tf.image.resize(pictures, size, "bicubic", antialias=True), -1.0, 1.0)
