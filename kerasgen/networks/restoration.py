"""Generators for tasks whose input says most of the answer: they begin as a classical answer and learn the rest.

The last convolution of each begins at zero, so that an untrained network is exactly bicubic enlargement, the
untouched picture, or the harmonic filling. No normalization: it would forget a picture's brightness.
"""

import keras
import numpy as np
from keras import layers, ops

from kerasgen.drawing import LUMA
from kerasgen.errors import UserError
from kerasgen.networks.enlargement import Bicubic, enlarged
from kerasgen.networks.norms import check_channels, check_layout
from kerasgen.networks.separable import separable_conv


def super_resolver(
    scale: int = 2,
    *,
    filters: int = 32,
    blocks: int = 4,
    separable: bool = False,
    name: str = "super_resolver",
) -> keras.Model:
    """Build `[batch, H, W, 3]` → `[batch, scale·H, scale·W, 3]`, float32, images in [-1, 1].

    Residual blocks at the low resolution, whose one channel is spread out to pixels at the end (Shi et al. 2016,
    1609.05158; Lim et al. 2017, 1707.02921), are added to the bicubic enlargement: to R, G and B alike, so that
    luma becomes sharper and color stays bicubic. H and W must be 3 at least.

    Args:
        scale: 2 or 4.
        filters: of each convolution.
        blocks: residual blocks.
        separable: take the blocks' convolutions apart (`separable_conv`), for phones.
        name: of the Keras model.

    Raises:
        UserError: there is no such scale.
    """
    check_layout()
    if scale not in (2, 4):
        raise UserError(f"scale={scale} is not offered: choose 2 or 4.")
    inputs = keras.Input((None, None, 3), name="image")
    bicubic = enlarged(inputs, scale, Bicubic(), "bicubic")
    luma = layers.Conv2D(1, 1, use_bias=False, kernel_initializer=Luma(), trainable=False, name="luma")(inputs)
    x = _trunk(layers.Conv2D(filters, 3, padding="same", name="stem")(luma), blocks, separable)
    # A 3×3 convolution to scale² channels and their spreading out to pixels, as the one operation that it is.
    detail = layers.Conv2DTranspose(
        1, 3 * scale, strides=scale, padding="same", kernel_initializer="zeros", name="detail"
    )(x)
    detail = layers.Concatenate(name="to_rgb")([detail] * 3)
    outputs = layers.Add(dtype="float32", name="sharpened")([bicubic, detail])
    return keras.Model(inputs, outputs, name=name)


def restorer(
    channels: int = 3,
    *,
    filters: int = 32,
    blocks: int = 5,
    curve: bool = False,
    separable: bool = False,
    name: str = "restorer",
) -> keras.Model:
    """Build `[batch, H, W, channels]` → the same, float32, images in [-1, 1]; H and W even.

    Residual blocks at half the resolution, added to the input.

    Args:
        channels: of the image, 1 to 64.
        filters: of each convolution.
        blocks: residual blocks.
        curve: add to a learned curve instead, a mix of x, √x and x² in [0, 1] of all channels, which begins as x:
            for light and color that are wrong everywhere alike.
        separable: take the blocks' convolutions apart (`separable_conv`), for phones.
        name: of the Keras model.

    Raises:
        UserError: `channels` isn't 1 to 64.
    """
    check_layout()
    check_channels(channels)
    inputs = keras.Input((None, None, channels), name="image")
    skip, seen = inputs, inputs
    if curve:
        unit = layers.Rescaling(0.5, 0.5, name="unit")(inputs)
        seen = layers.Concatenate(name="powers")([unit, RootAndSquare(name="root_and_square")(unit)])
        skip = layers.Conv2D(channels, 1, kernel_initializer=FirstChannels(), name="curve")(seen)
        skip = layers.Rescaling(2.0, -1.0, name="signed")(skip)
    x = layers.Conv2D(filters, 6, strides=2, padding="same", name="stem")(seen)
    x = layers.Conv2DTranspose(channels, 6, strides=2, padding="same", kernel_initializer="zeros", name="correction")(
        _trunk(x, blocks, separable)
    )
    outputs = layers.Add(dtype="float32", name="restored")([skip, x])
    return keras.Model(inputs, outputs, name=name)


def _trunk(x: keras.KerasTensor, blocks: int, separable: bool) -> keras.KerasTensor:
    def convolved(x: keras.KerasTensor, name: str, activation: str | None = None) -> keras.KerasTensor:
        if separable:
            return separable_conv(x, "none", name, padding="same", activation=activation)
        return layers.Conv2D(x.shape[-1], 3, padding="same", activation=activation, name=name)(x)

    for i in range(1, blocks + 1):
        y = convolved(convolved(x, f"block{i}_conv1", "relu"), f"block{i}_conv2")
        x = layers.Add(name=f"block{i}_add")([x, y])
    return x


@keras.saving.register_keras_serializable(package="kerasgen")
class Luma(keras.initializers.Initializer):
    """The kernel of a 1×1 convolution from RGB to luma (ITU-R BT.601)."""

    def __call__(self, shape, dtype=None):
        return ops.convert_to_tensor(np.reshape(LUMA, shape), dtype or "float32")


@keras.saving.register_keras_serializable(package="kerasgen")
class FirstChannels(keras.initializers.Initializer):
    """The kernel of a 1×1 convolution that passes its first channels on."""

    def __call__(self, shape, dtype=None):
        return ops.convert_to_tensor(np.eye(shape[-2], shape[-1]).reshape(shape), dtype or "float32")


@keras.saving.register_keras_serializable(package="kerasgen")
class RootAndSquare(keras.layers.Layer):
    """√x and x² of each channel, side by side: `[..., channels]` in [0, 1] → `[..., 2·channels]`.

    x below 1/255 is taken as 1/255, because the root's slope is infinite at 0.
    """

    def call(self, inputs):
        x = ops.maximum(inputs, 1.0 / 255.0)
        return ops.concatenate([ops.sqrt(x), x * x], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])
