"""Discriminators that judge patches: PatchGAN and its 1×1 form (Isola et al. 2017, 1611.07004)."""

import keras
from keras import layers

from kerasgen.errors import UserError
from kerasgen.networks.norms import apply_norm, check_channels, check_layout, check_norm, needs_bias, normal_init


def patchgan(
    channels: int = 3,
    *,
    filters: int = 64,
    downsamplings: int = 3,
    norm: str = "instance",
    condition_channels: int = 0,
    name: str = "patchgan",
) -> keras.Model:
    """Build a discriminator `[batch, H, W, channels]` → logits `[batch, h, w, 1]`, one a patch, float32.

    With 3 layers a logit sees 70×70 pixels, and 256×256 pixels give 30×30 logits. H and W must be at least
    `3 * 2 ** downsamplings`.

    Args:
        channels: of the image, 1 to 64.
        filters: of the first convolution; they double up to 8 times that.
        downsamplings: stride-2 convolutions, at least 1.
        norm: "instance", "affine_instance", "batch", "batch_of_one" (see `apply_norm`) or "none".
        condition_channels: of a second picture before the first, as pix2pix' discriminator sees it.
        name: of the Keras model.

    Raises:
        UserError: an argument is not one of those above.

    Example:
        patchgan(filters=8, downsamplings=2)
    """
    check_layout()
    check_norm(norm)
    check_channels(channels)
    if downsamplings < 1:
        raise UserError(
            f"downsamplings={downsamplings} leaves no PatchGAN: give 1 or more, or take `pixel_discriminator`."
        )
    inputs = keras.Input((None, None, channels + condition_channels), name="image")
    x = _conv(inputs, filters, 4, 2, True, "conv1")
    x = layers.LeakyReLU(0.2, name="relu1")(x)
    for i in range(2, downsamplings + 2):
        stride = 2 if i <= downsamplings else 1
        x = _conv(x, filters * min(2 ** (i - 1), 8), 4, stride, needs_bias(norm), f"conv{i}")
        x = layers.LeakyReLU(0.2, name=f"relu{i}")(apply_norm(x, norm, f"norm{i}"))
    logits = _conv(x, 1, 4, 1, True, f"conv{downsamplings + 2}")
    return keras.Model(inputs, _to_float32(logits), name=name)


def pixel_discriminator(
    channels: int = 3, *, filters: int = 64, norm: str = "instance", name: str = "pixel_discriminator"
) -> keras.Model:
    """Build a discriminator of single pixels, `[batch, H, W, channels]` → logits `[batch, H, W, 1]`, float32.

    Args:
        channels: of the image, 1 to 64.
        filters: of the first convolution, doubled by the second.
        norm: "instance", "affine_instance", "batch", "batch_of_one" (see `apply_norm`) or "none".
        name: of the Keras model.

    Raises:
        UserError: an argument is not one of those above.
    """
    check_layout()
    check_norm(norm)
    check_channels(channels)
    inputs = keras.Input((None, None, channels), name="image")
    x = layers.LeakyReLU(0.2, name="relu1")(_conv(inputs, filters, 1, 1, True, "conv1"))
    x = apply_norm(_conv(x, filters * 2, 1, 1, needs_bias(norm), "conv2"), norm, "norm2")
    x = layers.LeakyReLU(0.2, name="relu2")(x)
    logits = _conv(x, 1, 1, 1, needs_bias(norm), "conv3")
    return keras.Model(inputs, _to_float32(logits), name=name)


def _conv(x: keras.KerasTensor, filters: int, kernel: int, stride: int, bias: bool, name: str) -> keras.KerasTensor:
    # Padding of its own: SAME pads a 4×4 kernel unevenly for stride 1 and for odd sizes.
    if kernel > 1:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return layers.Conv2D(filters, kernel, strides=stride, use_bias=bias, kernel_initializer=normal_init(), name=name)(
        x
    )


def _to_float32(logits: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Activation("linear", dtype="float32", name="logits")(logits)
