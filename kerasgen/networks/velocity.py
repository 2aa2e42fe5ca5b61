"""The U-Net that says where a noisy picture should go, at a time and for a label: a flow's velocity."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from kerasgen.errors import UserError
from kerasgen.layers import GroupNormalization
from kerasgen.networks.norms import check_channels, check_layout

_TIME_FEATURES = 32
# Cycles of the slowest and of the fastest wave over times from 0 to 1.
_CYCLES = (0.25, 8.0)


def velocity_unet(
    image_shape: Sequence[int],
    filters: Sequence[int] = (64, 128),
    hidden_units: int = 128,
    heads: int = 4,
    label_size: int = 0,
    patch: int = 1,
) -> keras.Model:
    """Build a U-Net with one residual block a resolution on each side, and attention at the lowest.

    Blocks are those of Ho et al. (2020, 2006.11239): group norm, SiLU, convolution, twice, with time and label added
    between. It begins as the function 0.

    Args:
        image_shape: (height, width, channels); height and width divisible by patch · 2 ** (len(filters) - 1).
        filters: channels at each resolution, the highest first; multiples of 8, the last one of `heads` too.
        hidden_units: width of what time and label become.
        heads: of the attention.
        label_size: with it, there is an input "label", [batch, label_size]: one-hot classes, or attributes.
        patch: pixels of a side that the first convolution takes together, 1 or 2. 2 makes the whole network work at
            half the resolution, in about a third of the time.

    Returns:
        A model from {"image": [batch, height, width, channels], "time": [batch, 1] in [0, 1] (, "label")} to the
        velocity, float32 [batch, height, width, channels].

    Raises:
        UserError: the sizes don't divide.
    """
    height, width, channels = _check(image_shape, filters, heads, patch)
    image = keras.Input((height, width, channels), name="image")
    time = keras.Input((1,), name="time")
    inputs = {"image": image, "time": time}
    if label_size:
        inputs["label"] = keras.Input((label_size,), name="label")
    condition = _condition(inputs, hidden_units)

    x = layers.Conv2D(filters[0], 2 + patch, strides=patch, padding="same", name="stem")(image)
    skips = []
    for i, count in enumerate(filters):
        x = _block(x, count, condition, f"down{i}")
        if i < len(filters) - 1:
            skips.append(x)
            x = layers.AveragePooling2D(2, name=f"halve{i}")(x)
    x = _attention(x, heads)
    x = _block(x, filters[-1], condition, "middle")
    for i in range(len(filters) - 2, -1, -1):
        x = layers.UpSampling2D(2, name=f"double{i}")(x)
        x = layers.Concatenate(name=f"skip{i}")([x, skips[i]])
        x = _block(x, filters[i], condition, f"up{i}")
    x = layers.Activation("silu", name="last_silu")(GroupNormalization(8, name="last_norm")(x))
    last = {"padding": "same", "kernel_initializer": "zeros", "dtype": "float32", "name": "velocity"}
    if patch == 1:
        velocity = layers.Conv2D(channels, 3, **last)(x)
    else:
        velocity = layers.Conv2DTranspose(channels, 2 + patch, strides=patch, **last)(x)
    return keras.Model(inputs, velocity, name="velocity_unet")


def _condition(inputs: dict[str, keras.KerasTensor], hidden_units: int) -> keras.KerasTensor:
    """Return what time and label become: [batch, hidden_units]."""
    waves = np.geomspace(*_CYCLES, _TIME_FEATURES // 2) * 2 * math.pi
    angles = inputs["time"] * waves.astype("float32")
    features = layers.Concatenate(name="time_features")([ops.sin(angles), ops.cos(angles)])
    x = layers.Dense(hidden_units, activation="silu", name="time_hidden")(features)
    x = layers.Dense(hidden_units, name="time_embedding")(x)
    if "label" in inputs:
        embedded = layers.Dense(hidden_units, use_bias=False, name="label_embedding")(inputs["label"])
        x = layers.Add(name="time_and_label")([x, embedded])
        x = layers.Dense(hidden_units, name="condition")(layers.Activation("silu", name="condition_silu")(x))
    return layers.Activation("silu", name="condition_out")(x)


def _block(x: keras.KerasTensor, filters: int, condition: keras.KerasTensor, name: str) -> keras.KerasTensor:
    kept = x
    if x.shape[-1] != filters:
        kept = layers.Conv2D(filters, 1, name=f"{name}_kept")(x)
    x = layers.Activation("silu", name=f"{name}_silu1")(GroupNormalization(8, name=f"{name}_norm1")(x))
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv1")(x)
    told = layers.Reshape((1, 1, filters), name=f"{name}_told")(
        layers.Dense(filters, name=f"{name}_condition")(condition)
    )
    x = layers.Add(name=f"{name}_with_condition")([x, told])
    x = layers.Activation("silu", name=f"{name}_silu2")(GroupNormalization(8, name=f"{name}_norm2")(x))
    x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros", name=f"{name}_conv2")(x)
    return layers.Add(name=f"{name}_sum")([kept, x])


def _attention(x: keras.KerasTensor, heads: int) -> keras.KerasTensor:
    """Let each place look at all others."""
    height, width, filters = x.shape[1:]
    places = GroupNormalization(8, name="attention_norm")(x)
    places = layers.Reshape((height * width, filters), name="places")(places)
    found = layers.MultiHeadAttention(heads, filters // heads, name="attention")(places, places)
    return layers.Add(name="attention_sum")([x, layers.Reshape((height, width, filters), name="unplaced")(found)])


def _check(image_shape: Sequence[int], filters: Sequence[int], heads: int, patch: int) -> tuple[int, int, int]:
    check_layout()
    height, width, channels = image_shape
    check_channels(channels)
    if patch not in (1, 2):
        raise UserError(f"patch is {patch}: give 1 or 2.")
    factor = patch * 2 ** (len(filters) - 1)
    if height % factor or width % factor:
        raise UserError(
            f"An image of {height}×{width} can't go into patches of {patch} and be halved {len(filters) - 1} times "
            f"(filters={tuple(filters)}): choose a height and width divisible by {factor}, or fewer filters."
        )
    if any(count < 8 or count % 8 for count in filters) or filters[-1] % heads:
        raise UserError(
            f"filters are {tuple(filters)} and heads {heads}: give multiples of 8, the last of heads too."
        )
    return height, width, channels
