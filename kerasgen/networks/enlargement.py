"""Enlargement by a fixed interpolation, as one transposed convolution that every format has.

Keras' UpSampling2D with an interpolation doesn't run with open sizes in a graph.
"""

import keras
import numpy as np
from keras import layers, ops

from kerasgen.layers import Cropping2D, ReflectionPadding2D


def enlarged(x: keras.KerasTensor, scale: int, kernel: "Bicubic | Bilinear", name: str) -> keras.KerasTensor:
    """`[batch, H, W, channels]` to `[batch, scale·H, scale·W, channels]`; the border is mirrored.

    Args:
        x: the pictures; H and W are more than the kernel's reach.
        scale: of both sides.
        kernel: the interpolation.
        name: of the convolution, and the beginning of the names of its padding and cropping.
    """
    x = ReflectionPadding2D(kernel.reach, name=f"{name}_pad")(x)
    x = layers.Conv2DTranspose(
        x.shape[-1],
        2 * kernel.reach * scale,
        strides=scale,
        padding="same",
        use_bias=False,
        kernel_initializer=kernel,
        trainable=False,
        name=name,
    )(x)
    return Cropping2D(kernel.reach * scale, name=f"{name}_crop")(x)


@keras.saving.register_keras_serializable(package="kerasgen")
class Bicubic(keras.initializers.Initializer):
    """The kernel of a transposed convolution that enlarges each channel by Keys' cubic (a = -1/2), as Pillow does."""

    reach = 2  # input pixels on each side that an output pixel is made of

    def __call__(self, shape, dtype=None):
        size, _, channels, _ = shape
        scale = size // 4
        t = np.abs((np.arange(size) - (size - 1) / 2) / scale)
        near = 1.5 * t**3 - 2.5 * t**2 + 1
        far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        taps = np.where(t <= 1, near, np.where(t < 2, far, 0.0))
        kernel = np.einsum("i,j,cd->ijcd", taps, taps, np.eye(channels))
        return ops.convert_to_tensor(kernel, dtype or "float32")


@keras.saving.register_keras_serializable(package="kerasgen")
class Bilinear(keras.initializers.Initializer):
    """The kernel of a transposed convolution that enlarges each channel by bilinear interpolation."""

    reach = 1  # input pixels on each side that an output pixel is made of

    def __call__(self, shape, dtype=None):
        scale = shape[0] // 2
        taps = 1.0 - np.abs(np.arange(2 * scale) - (2 * scale - 1) / 2) / scale
        return ops.convert_to_tensor(np.einsum("i,j,cd->ijcd", taps, taps, np.eye(shape[2])), dtype or "float32")
