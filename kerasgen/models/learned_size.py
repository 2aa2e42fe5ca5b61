"""A drawing of any size for a network that knows lines of one thickness."""

import keras
import tensorflow as tf

from kerasgen.typing import Tensor


def at_learned_size(network: keras.Model, side: int) -> keras.Model:
    """Return a trained colorizer for drawings of any size: `[batch, H, W, channels]` → `[batch, H, W, 3]`.

    Lines of another thickness it does not know. So the color is found where the drawing, padded with white to square,
    is `side` pixels wide; enlarged to the drawing's own size, it lies under its own sharp lines. What else is known
    must be the same everywhere in a picture. A drawing of `side` × `side` is colored as by the network itself.

    Args:
        network: made by `colorizer`.
        side: pixels of the drawings that it was trained on.
    """
    color = keras.Model(network.input, network.get_layer("color").output, name="color")
    pictures = keras.Input((None, None, network.input_shape[-1]), name="image")
    return keras.Model(pictures, _ColorAt(color, side, name="colored")(pictures), name=network.name)


class _ColorAt(keras.layers.Layer):
    """Lays the color that a network finds at one size under drawings of any."""

    def __init__(self, color: keras.Model, side: int, **options: str):
        super().__init__(**options, trainable=False)
        self.color, self.side = color, side

    def call(self, pictures: Tensor) -> Tensor:
        height, width = tf.unstack(tf.shape(pictures)[1:3])
        longer = tf.maximum(height, width)
        top, left = (longer - height) // 2, (longer - width) // 2
        margins = [[0, 0], [top, longer - height - top], [left, longer - width - left], [0, 0]]
        drawing = tf.pad(pictures[..., :3], margins, constant_values=1.0)
        small = tf.image.resize(drawing, (self.side, self.side), antialias=True)
        known = tf.broadcast_to(pictures[:, :1, :1, 3:], [*tf.unstack(tf.shape(small)[:3]), pictures.shape[-1] - 3])
        color = self.color(tf.concat([small, known], axis=-1), training=False)
        large = tf.image.resize(color, (longer, longer))[:, top : top + height, left : left + width]
        return (pictures[..., :3] + 1.0) * large - 1.0

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:3], 3)
