"""The U-Net generator of pix2pix (Isola et al. 2017, 1611.07004), which CycleGAN can use too."""

import keras
from keras import layers

from kerasgen.errors import UserError
from kerasgen.layers import NoiseDropout
from kerasgen.networks.norms import apply_norm, check_channels, check_layout, check_norm, needs_bias, normal_init


def unet_generator(
    channels: int = 3,
    out_channels: int | None = None,
    *,
    filters: int = 64,
    downsamplings: int = 8,
    norm: str = "batch",
    dropout: float = 0.0,
    dropout_at_test: bool = True,
    name: str = "unet_generator",
) -> keras.Model:
    """Build a translation network `[batch, H, W, channels]` → `[batch, H, W, out_channels]`, float32.

    Images are in [-1, 1]; H and W are free, but multiples of `2 ** downsamplings`: 8 for 256 pixels, 7 for 128.
    With norm="batch_of_one" and dropout=0.5 it is pix2pix' own; CycleGAN trains without dropout.

    Args:
        channels: of the input image, 1 to 64.
        out_channels: of the output image; None means as many as the input's.
        filters: of the first convolution; they double up to 8 times that.
        downsamplings: stride-2 convolutions, at least 2, and as many transposed ones.
        norm: "instance", "affine_instance", "batch", "batch_of_one" (see `apply_norm`) or "none".
        dropout: share of the values that are dropped behind each norm on the way up between the innermost level and
            the four outermost ones: pix2pix' only noise.
        dropout_at_test: whether they are dropped at test too, as pix2pix does; see `without_noise`.
        name: of the Keras model.

    Raises:
        UserError: an argument is not one of those above.

    Example:
        unet_generator(filters=8, downsamplings=4)
    """
    out_channels = out_channels or channels
    check_layout()
    check_norm(norm)
    check_channels(channels)
    check_channels(out_channels)
    if downsamplings < 2:
        raise UserError(f"downsamplings={downsamplings} leaves no U-Net: give 2 or more.")
    if not 0 <= dropout < 1:
        raise UserError(f"dropout is {dropout}: give a share of at least 0, and below 1.")
    bias = needs_bias(norm)
    widths = [filters * min(2**i, 8) for i in range(downsamplings)]

    inputs = keras.Input((None, None, channels), name="image")
    # The outermost level has no norm, the innermost none on its way down.
    x = _down(inputs, widths[0], bias, "down1_conv")
    skips = [x]
    for i, width in enumerate(widths[1:], 2):
        x = layers.LeakyReLU(0.2, name=f"down{i}_relu")(x)
        x = _down(x, width, bias, f"down{i}_conv")
        if i < downsamplings:
            x = apply_norm(x, norm, f"down{i}_norm")
            skips.append(x)
    for i in range(downsamplings, 1, -1):
        x = layers.ReLU(name=f"up{i}_relu")(x)
        x = apply_norm(_up(x, widths[i - 2], bias, f"up{i}_conv"), norm, f"up{i}_norm")
        if dropout and 5 <= i < downsamplings:
            x = NoiseDropout(dropout, dropout_at_test, name=f"up{i}_dropout")(x)
        x = layers.Concatenate(name=f"skip{i - 1}")([skips[i - 2], x])
    x = _up(layers.ReLU(name="up1_relu")(x), out_channels, True, "up1_conv")
    outputs = layers.Activation("tanh", dtype="float32", name="generated")(x)
    return keras.Model(inputs, outputs, name=name)


def without_noise(network: keras.Model) -> keras.Model:
    """Return a network that drops nothing at test, with the same weights; the network itself, if it doesn't."""
    if not any(isinstance(layer, NoiseDropout) and layer.at_test for layer in network.layers):
        return network

    def quiet(layer: keras.Layer) -> keras.Layer:
        return layers.Dropout(layer.rate, name=layer.name) if isinstance(layer, NoiseDropout) else layer

    return keras.models.clone_model(network, clone_function=quiet)


def _down(x: keras.KerasTensor, filters: int, bias: bool, name: str) -> keras.KerasTensor:
    # For even sizes, SAME with a 4×4 kernel pads one pixel on every side, as PyTorch's padding 1 does.
    return layers.Conv2D(
        filters, 4, strides=2, padding="same", use_bias=bias, kernel_initializer=normal_init(), name=name
    )(x)


def _up(x: keras.KerasTensor, filters: int, bias: bool, name: str) -> keras.KerasTensor:
    return layers.Conv2DTranspose(
        filters, 4, strides=2, padding="same", use_bias=bias, kernel_initializer=normal_init(), name=name
    )(x)
