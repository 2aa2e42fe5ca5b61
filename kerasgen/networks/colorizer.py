"""Coloring a drawing: a U-Net finds the color that lies under the lines, and the lines are laid over it."""

import keras
from keras import layers

from kerasgen.errors import UserError
from kerasgen.networks.norms import apply_norm, check_channels, check_layout, check_norm, needs_bias
from kerasgen.networks.separable import separable_conv

_WIDTHS = (32, 64, 128, 160, 160)
# Where maps are this wide or wider, a further convolution costs little.
_REFINED_FROM = 64


def colorizer(
    channels: int = 3,
    *,
    filters: tuple[int, ...] = _WIDTHS,
    norm: str = "batch",
    separable: bool = False,
    name: str = "colorizer",
) -> keras.Model:
    """Build `[batch, H, W, channels]` → `[batch, H, W, 3]`, float32, images in [-1, 1].

    The first three channels are a drawing on white; the others say what else is known of it, such as a skin tone.
    What comes out is the drawing times a color in [0, 1] for each pixel: ink stays as dark as it is, as transparent
    paint under it would leave it, and the U-Net is spared from drawing lines. H and W must be multiples of
    `2 ** len(filters)`.

    Args:
        channels: of the input, 3 to 64.
        filters: channels at 1/2, 1/4, 1/8, … of the resolution, at least two.
        norm: "batch", "instance" or "none".
        separable: take all convolutions but the first and the last apart (`separable_conv`), for phones.
        name: of the Keras model.

    Raises:
        UserError: an argument is not one of those above.
    """
    _check(channels, filters, norm)

    def convolved(x: keras.KerasTensor, width: int, name: str, size: int = 3, strides: int = 1) -> keras.KerasTensor:
        apart = separable and x is not inputs
        return _convolved(x, width, norm, apart, f"{name}_conv", size, strides)

    def refined(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
        """Add what a 3×3 convolution finds, where that is cheap."""
        if width < _REFINED_FROM:
            return x
        found = _activated(convolved(x, width, f"{name}_refine"), norm, f"{name}_refine")
        return layers.Add(name=f"{name}_add")([x, found])

    inputs = keras.Input((None, None, channels), name="image")
    skips: list[keras.KerasTensor] = []
    x = inputs
    for i, width in enumerate(filters, 1):
        x = _activated(convolved(x, width, f"down{i}", 4, strides=2), norm, f"down{i}")
        x = refined(x, width, f"down{i}")
        skips.append(x)
    for i in range(len(filters) - 1, 0, -1):
        width = filters[i - 1]
        x = _activated(_up(x, width, needs_bias(norm), separable, f"up{i}_conv"), norm, f"up{i}")
        x = layers.Concatenate(name=f"skip{i}")([skips[i - 1], x])
        if width >= _REFINED_FROM:
            x = _activated(convolved(x, width, f"merge{i}"), norm, f"merge{i}")
    x = _up(x, 3, True, False, "color_conv")
    color = layers.Activation("sigmoid", dtype="float32", name="color")(x)
    # In [0, 1] it is the drawing times the color.
    outputs = (inputs[..., :3] + 1.0) * color - 1.0
    outputs = layers.Activation("linear", dtype="float32", name="colored")(outputs)
    return keras.Model(inputs, outputs, name=name)


def _check(channels: int, filters: tuple[int, ...], norm: str) -> None:
    check_layout()
    check_norm(norm)
    check_channels(channels)
    if channels < 3 or len(filters) < 2:
        raise UserError(
            f"A colorizer of {channels} channels and {len(filters)} levels was asked for: give 3 channels or more, "
            "the drawing's, and two levels or more."
        )


def _convolved(
    x: keras.KerasTensor, width: int, norm: str, separable: bool, name: str, size: int, strides: int
) -> keras.KerasTensor:
    if separable:
        return separable_conv(x, norm, name, filters=width, kernel_size=size, strides=strides, padding="same")
    convolution = layers.Conv2D(
        width,
        size,
        strides=strides,
        padding="same",
        use_bias=needs_bias(norm),
        kernel_initializer="he_normal",
        name=name,
    )
    return convolution(x)


def _up(x: keras.KerasTensor, filters: int, bias: bool, separable: bool, name: str) -> keras.KerasTensor:
    """Double the resolution; taken apart, channels are mixed before, where there are fewer pixels."""
    if not separable:
        return layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=bias, name=name)(x)
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_mixed")(x)
    x = layers.UpSampling2D(2, name=f"{name}_resize")(x)
    return layers.DepthwiseConv2D(3, padding="same", use_bias=bias, name=name)(x)


def _activated(x: keras.KerasTensor, norm: str, name: str) -> keras.KerasTensor:
    return layers.LeakyReLU(0.2, name=f"{name}_relu")(apply_norm(x, norm, f"{name}_norm"))
