"""Coloring a drawing: a U-Net finds the color that lies under the lines, and the lines are laid over it."""

import keras
from keras import layers

from kerasgen.errors import UserError
from kerasgen.networks.norms import apply_norm, check_channels, check_layout, check_norm, needs_bias

_WIDTHS = (32, 64, 128, 160, 160)
# Where maps are this wide or wider, a further convolution costs little.
_REFINED_FROM = 64


def colorizer(
    channels: int = 3, *, filters: tuple[int, ...] = _WIDTHS, norm: str = "batch", name: str = "colorizer"
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
        name: of the Keras model.

    Raises:
        UserError: an argument is not one of those above.
    """
    check_layout()
    check_norm(norm)
    check_channels(channels)
    if channels < 3 or len(filters) < 2:
        raise UserError(
            f"A colorizer of {channels} channels and {len(filters)} levels was asked for: give 3 channels or more, "
            "the drawing's, and two levels or more."
        )
    inputs = keras.Input((None, None, channels), name="image")
    skips: list[keras.KerasTensor] = []
    x = inputs
    for i, width in enumerate(filters, 1):
        convolution = layers.Conv2D(
            width, 4, strides=2, padding="same", use_bias=needs_bias(norm), name=f"down{i}_conv", **_HE
        )
        x = _refined(_activated(convolution(x), norm, f"down{i}"), width, norm, f"down{i}")
        skips.append(x)
    for i in range(len(filters) - 1, 0, -1):
        width = filters[i - 1]
        x = _activated(_up(width, needs_bias(norm), f"up{i}_conv")(x), norm, f"up{i}")
        x = layers.Concatenate(name=f"skip{i}")([skips[i - 1], x])
        if width >= _REFINED_FROM:
            convolution = layers.Conv2D(
                width, 3, padding="same", use_bias=needs_bias(norm), name=f"merge{i}_conv", **_HE
            )
            x = _activated(convolution(x), norm, f"merge{i}")
    color = layers.Activation("sigmoid", dtype="float32", name="color")(_up(3, True, "color_conv")(x))
    # In [0, 1] it is the drawing times the color.
    outputs = (inputs[..., :3] + 1.0) * color - 1.0
    outputs = layers.Activation("linear", dtype="float32", name="colored")(outputs)
    return keras.Model(inputs, outputs, name=name)


_HE = {"kernel_initializer": "he_normal"}


def _up(filters: int, bias: bool, name: str) -> keras.layers.Layer:
    return layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=bias, name=name)


def _activated(x: keras.KerasTensor, norm: str, name: str) -> keras.KerasTensor:
    return layers.LeakyReLU(0.2, name=f"{name}_relu")(apply_norm(x, norm, f"{name}_norm"))


def _refined(x: keras.KerasTensor, width: int, norm: str, name: str) -> keras.KerasTensor:
    """Add what a 3×3 convolution finds, where that is cheap."""
    if width < _REFINED_FROM:
        return x
    found = layers.Conv2D(width, 3, padding="same", use_bias=needs_bias(norm), name=f"{name}_refine_conv", **_HE)(x)
    return layers.Add(name=f"{name}_add")([x, _activated(found, norm, f"{name}_refine")])
