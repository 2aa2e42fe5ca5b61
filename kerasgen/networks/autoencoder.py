"""Encoders and decoders whose latents are maps: latent diffusion's, and a tiny pair."""

from collections.abc import Sequence

import keras
from keras import layers

from kerasgen import values
from kerasgen.errors import UserError
from kerasgen.layers import GroupNormalization
from kerasgen.losses import LOG_VAR_RANGE
from kerasgen.networks.norms import check_channels, check_layout

_GROUPS = 8  # of the group norms
# A latent's noise begins small: one as large as the latent would hide it from the decoder for many steps.
_FIRST_LOG_VAR = -6.0


def residual_encoder(
    channels: int = 3,
    latent_channels: int = 4,
    *,
    filters: Sequence[int] = (32, 64, 96),
    blocks: int = 1,
    patch: int = 2,
    attention: bool = False,
    variational: bool = True,
) -> keras.Model:
    """Build the encoder of latent diffusion (Rombach et al. 2022, 2112.10752).

    Residual blocks of group norm, SiLU and convolution, at one resolution after another.

    Args:
        channels: of the picture, 1 to 64.
        latent_channels: of the map.
        filters: channels at each resolution, the highest first; multiples of 8.
        blocks: residual blocks at each resolution.
        patch: pixels of a side that the first convolution takes together, 1, 2 or 4: latent diffusion's 1 computes
            most of its work at full resolution.
        attention: whether each place of the map looks at all others, by one head.
        variational: whether it gives the moments of a posterior; else latents.

    Returns:
        A model from images [batch, height, width, channels], of sides divisible by patch · 2 ** (len(filters) - 1),
        to {"z_mean", "z_log_var"} (or to "z"), each [batch, h, w, latent_channels], float32.

    Raises:
        UserError: an argument is not one of those above.

    Example:
        residual_encoder(filters=(8, 16), patch=1)
    """
    _check(channels, latent_channels, filters, blocks, patch)
    image = keras.Input((None, None, channels), name="image")
    x = layers.Conv2D(filters[0], 2 + patch, strides=patch, padding="same", name="stem")(image)
    for level, count in enumerate(filters):
        if level:
            x = layers.Conv2D(count, 3, strides=2, padding="same", name=f"halve{level}")(x)
        for i in range(blocks):
            x = _residual_block(x, count, f"level{level}_{i}")
    if attention:
        x = _attention(x)
    x = _normed(x, "last")
    if not variational:
        z = layers.Conv2D(latent_channels, 3, padding="same", dtype="float32", name="z")(x)
        return keras.Model(image, z, name="encoder")
    z_mean = layers.Conv2D(latent_channels, 3, padding="same", dtype="float32", name="z_mean")(x)
    first = {"kernel_initializer": "zeros", "bias_initializer": keras.initializers.Constant(_FIRST_LOG_VAR)}
    z_log_var = layers.Conv2D(latent_channels, 3, padding="same", dtype="float32", name="z_log_var", **first)(x)
    return keras.Model(image, {"z_mean": z_mean, "z_log_var": z_log_var}, name="encoder")


def residual_decoder(
    channels: int = 3,
    latent_channels: int = 4,
    *,
    filters: Sequence[int] = (32, 64, 96),
    blocks: int = 1,
    patch: int = 2,
    attention: bool = False,
) -> keras.Model:
    """Build the decoder that belongs to `residual_encoder`: its mirror, with a block more at each resolution.

    Args:
        channels, latent_channels, filters, blocks, patch, attention: of the encoder.

    Returns:
        A model from latents [batch, h, w, latent_channels] to images [batch, height, width, channels], float32; what
        it has learned of pictures in [0, 1] overshoots a little.

    Raises:
        UserError: an argument doesn't fit, as for the encoder.

    Example:
        residual_decoder(filters=(8, 16), patch=1)
    """
    _check(channels, latent_channels, filters, blocks, patch)
    z = keras.Input((None, None, latent_channels), name="z")
    x = layers.Conv2D(filters[-1], 3, padding="same", name="stem")(z)
    if attention:
        x = _attention(x)
    for level in range(len(filters) - 1, -1, -1):
        for i in range(blocks + 1):
            x = _residual_block(x, filters[level], f"level{level}_{i}")
        if level:
            x = layers.UpSampling2D(2, name=f"double{level}")(x)
            x = layers.Conv2D(filters[level - 1], 3, padding="same", name=f"doubled{level}")(x)
    x = _normed(x, "last")
    last = {"padding": "same", "dtype": "float32", "name": "image"}
    if patch == 1:
        image = layers.Conv2D(channels, 3, **last)(x)
    else:
        image = layers.Conv2DTranspose(channels, 2 + patch, strides=patch, **last)(x)
    return keras.Model(z, image, name="decoder")


def tiny_encoder(
    channels: int = 3, latent_channels: int = 4, *, filters: Sequence[int] = (64, 64, 64, 64), blocks: int = 3
) -> keras.Model:
    """Build the encoder of the tiny autoencoder TAESD, by O. B. Bohan: 1,222,532 weights.

    Blocks of three convolutions with ReLU, no norms, at half the resolution from level to level.

    Args:
        channels: of the picture, 1 to 64.
        latent_channels: of the map.
        filters: channels at each resolution, the highest first.
        blocks: at each resolution but the first, which has one.

    Returns:
        As `residual_encoder`. Its posterior is a point: the log-variance is the least that there is.

    Raises:
        UserError: an argument is not one of those above.

    Example:
        tiny_encoder(filters=(8, 8), blocks=1)
    """
    _check(channels, latent_channels, filters, blocks)
    image = keras.Input((None, None, channels), name="image")
    x = layers.Conv2D(filters[0], 3, padding="same", name="stem")(image)
    for level, count in enumerate(filters):
        if level:
            x = layers.Conv2D(count, 3, strides=2, padding="same", use_bias=False, name=f"halve{level}")(x)
        for i in range(blocks if level else 1):
            x = _tiny_block(x, count, f"level{level}_{i}")
    z_mean = layers.Conv2D(latent_channels, 3, padding="same", dtype="float32", name="z_mean")(x)
    z_log_var = layers.Rescaling(0.0, LOG_VAR_RANGE[0], dtype="float32", name="z_log_var")(z_mean)
    return keras.Model(image, {"z_mean": z_mean, "z_log_var": z_log_var}, name="encoder")


def tiny_decoder(
    channels: int = 3, latent_channels: int = 4, *, filters: Sequence[int] = (64, 64, 64, 64), blocks: int = 3
) -> keras.Model:
    """Build the decoder that belongs to `tiny_encoder`: 1,222,531 weights.

    Latents are clamped softly to [-3, 3] first, by 3 · tanh(z / 3).

    Args:
        channels, latent_channels, filters, blocks: of the encoder.

    Returns:
        As `residual_decoder`.

    Raises:
        UserError: an argument doesn't fit, as for the encoder.

    Example:
        tiny_decoder(filters=(8, 8), blocks=1)
    """
    _check(channels, latent_channels, filters, blocks)
    z = keras.Input((None, None, latent_channels), name="z")
    x = layers.Rescaling(1 / 3, dtype="float32", name="third")(z)
    x = layers.Activation("tanh", dtype="float32", name="clamp")(x)
    x = layers.Rescaling(3.0, dtype="float32", name="clamped")(x)
    x = layers.Conv2D(filters[-1], 3, padding="same", activation="relu", name="stem")(x)
    for level in range(len(filters) - 1, -1, -1):
        for i in range(blocks if level else 1):
            x = _tiny_block(x, filters[level], f"level{level}_{i}")
        if level:
            x = layers.UpSampling2D(2, name=f"double{level}")(x)
            x = layers.Conv2D(filters[level - 1], 3, padding="same", use_bias=False, name=f"doubled{level}")(x)
    image = layers.Conv2D(channels, 3, padding="same", dtype="float32", name="image")(x)
    return keras.Model(z, image, name="decoder")


def _residual_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    kept = x
    for i in (1, 2):
        first = {"kernel_initializer": "zeros"} if i == 2 else {}
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv{i}", **first)(_normed(x, f"{name}_{i}"))
    return layers.Add(name=f"{name}_sum")([kept, x])


def _normed(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = GroupNormalization(_GROUPS, name=f"{name}_norm")(x)
    return layers.Activation("silu", name=f"{name}_silu")(x)


def _attention(x: keras.KerasTensor) -> keras.KerasTensor:
    """Let each place look at all others."""
    places = GroupNormalization(_GROUPS, name="attention_norm")(x)
    attended = layers.MultiHeadAttention(1, x.shape[-1], attention_axes=(1, 2), name="attention")
    return layers.Add(name="attention_sum")([x, attended(places, places)])


def _tiny_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    kept = x
    for i in (1, 2, 3):
        activation = "relu" if i < 3 else None
        x = layers.Conv2D(filters, 3, padding="same", activation=activation, name=f"{name}_conv{i}")(x)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_sum")([kept, x]))


def _check(
    channels: int, latent_channels: int, filters: Sequence[int], blocks: int, patch: int | None = None
) -> None:
    check_layout()
    check_channels(channels)
    check_channels(latent_channels)
    filters = values.widths("filters", filters)
    values.whole("blocks", blocks)
    if patch is None:
        return
    if patch not in (1, 2, 4):
        raise UserError(f"patch is {patch}: give 1, 2 or 4.")
    if any(count % _GROUPS for count in filters):
        raise UserError(f"filters are {tuple(filters)}: give multiples of {_GROUPS}.")
