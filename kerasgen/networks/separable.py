"""A convolution taken apart, for generators that phones run: about an eighth of the multiplications of a 3×3 one.

As in the students of GAN Compression (Li et al. 2020, 2003.08936, after Howard et al. 2017, 1704.04861).
"""

import keras
from keras import layers

from kerasgen.networks.norms import apply_norm, needs_bias, normal_init


def separable_conv(
    x: keras.KerasTensor,
    norm: str,
    name: str,
    *,
    filters: int | None = None,
    kernel_size: int = 3,
    strides: int = 1,
    padding: str = "valid",
    activation: str | None = None,
) -> keras.KerasTensor:
    """Convolve each channel by its own kernel, normalize, and mix the channels pixel by pixel.

    Args:
        x: [batch, H, W, channels].
        norm: "instance", "batch" or "none": between the two. Both have biases, but with batch normalization.
        name: the beginning of the layers' names.
        filters: channels that come out; None means as many as go in.
        kernel_size: side of the kernels.
        strides: 2 halves the resolution.
        padding: "valid" or "same".
        activation: after the mixing.
    """
    # Nine taps of N(0, 1/9) keep a channel's variance, which no norm puts right if there is none.
    alone = keras.initializers.RandomNormal(0.0, 1 / kernel_size) if norm == "none" else normal_init()
    mixing = "glorot_uniform" if norm == "none" else normal_init()
    bias = needs_bias(norm)
    x = layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=bias,
        depthwise_initializer=alone,
        name=f"{name}_depthwise",
    )(x)
    x = apply_norm(x, norm, f"{name}_depthwise_norm")
    return layers.Conv2D(
        filters or x.shape[-1], 1, use_bias=bias, activation=activation, kernel_initializer=mixing, name=name
    )(x)
