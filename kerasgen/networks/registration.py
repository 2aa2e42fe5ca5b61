"""Which way each pixel went: a cost volume, a U-Net, a displacement field, and the warp that it says.

Registration without supervision as in VoxelMorph (Balakrishnan et al. 2019, 1809.05231), with a cost volume before
the U-Net as in optical flow (Dosovitskiy et al. 2015, 1504.06852).
"""

import keras
from keras import layers, ops

from kerasgen.errors import UserError
from kerasgen.networks.enlargement import Bilinear, enlarged
from kerasgen.networks.norms import check_layout

_REACH = 2  # half-resolution pixels
_SHARPNESS = 3.0
_FLOW_SCALE = 4


def registration_network(
    channels: int = 3, *, filters: tuple[int, ...] = (32, 48, 64, 64), name: str = "registration_network"
) -> keras.Model:
    """Build `{"moving", "fixed"}` → `{"warped", "flow"}`, all float32, images `[batch, H, W, channels]` in [-1, 1].

    `flow` is `[batch, H, W, 2]` in pixels, rows first: `warped` at x is `moving` at x + flow(x). The U-Net sees how
    well the locally normalized gray pictures fit at each of 25 shifts of up to 4 pixels, at half the resolution, and
    says the flow at a quarter of it: enough for smooth warps. An untrained network's flow is 0. H and W must be
    multiples of `2 ** len(filters)`.

    Args:
        channels: of both pictures.
        filters: channels at 1/2, 1/4, … of the resolution, two at least.
        name: of the Keras model.

    Raises:
        UserError: there are fewer.
    """
    check_layout()
    if len(filters) < 2:
        raise UserError(f"filters is {filters}: give two widths at least, of 1/2 and 1/4 of the resolution.")
    moving = keras.Input((None, None, channels), name="moving")
    fixed = keras.Input((None, None, channels), name="fixed")
    x = _unet(CostVolume(dtype="float32", name="costs")([moving, fixed]), filters)
    x = layers.Conv2D(2, 3, padding="same", kernel_initializer="zeros", name="coarse_flow")(x)
    x = enlarged(x, _FLOW_SCALE, Bilinear(), "resize")
    flow = layers.Rescaling(2.0, dtype="float32", name="flow")(x)
    warped = BilinearWarp(dtype="float32", name="warp")([moving, flow])
    return keras.Model({"moving": moving, "fixed": fixed}, {"warped": warped, "flow": flow}, name=name)


def _unet(x: keras.KerasTensor, filters: tuple[int, ...]) -> keras.KerasTensor:
    """From 1/2 of the resolution down to `2 ** -len(filters)`, and up again to 1/4."""

    def convolved(x, width: int, name: str, strides: int = 1):
        return layers.Conv2D(
            width, 3, strides, padding="same", activation="relu", kernel_initializer="he_normal", name=name
        )(x)

    skips = []
    for i, width in enumerate(filters):
        x = convolved(x, width, f"down{i}_conv", strides=1 if i == 0 else 2)
        skips.append(x)
    x = convolved(x, filters[-1], "bottom")
    for i in range(len(filters) - 2, 0, -1):
        x = layers.UpSampling2D(2, name=f"up{i}_resize")(x)
        x = layers.Concatenate(name=f"skip{i}")([skips[i], x])
        x = convolved(x, filters[i], f"up{i}_conv")
    return x


@keras.saving.register_keras_serializable(package="kerasgen")
class CostVolume(keras.layers.Layer):
    """Two pictures `[batch, H, W, channels]` → `[batch, H/2, W/2, 27]`: 25 shares, and the two that were compared.

    Both are turned gray, halved, and normalized by the mean and the spread of 5×5 pixels around, so that light and
    contrast don't matter. A cost is the squared difference at one shift, averaged over 3×3 pixels; the softmax of
    the negative costs says which shift fits best, and how much better than the others, in numbers of one size.
    """

    def call(self, inputs):
        moving, fixed = (_normalized(picture) for picture in inputs)
        padded = ops.pad(moving, [[0, 0], [_REACH, _REACH], [_REACH, _REACH], [0, 0]])
        height, width = ops.shape(fixed)[1], ops.shape(fixed)[2]
        shifts = [(dy, dx) for dy in range(2 * _REACH + 1) for dx in range(2 * _REACH + 1)]
        costs = [ops.square(fixed - padded[:, dy : dy + height, dx : dx + width]) for dy, dx in shifts]
        shares = ops.softmax(-_SHARPNESS * _mean(ops.concatenate(costs, axis=-1), 3), axis=-1)
        return ops.concatenate([shares, moving, fixed], axis=-1)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape[0]
        return (batch, *(None if s is None else s // 2 for s in (height, width)), (2 * _REACH + 1) ** 2 + 2)


@keras.saving.register_keras_serializable(package="kerasgen")
class BilinearWarp(keras.layers.Layer):
    """A picture `[batch, H, W, channels]` and a flow `[batch, H, W, 2]` → the picture at x + flow(x), bilinear.

    Places outside are moved to the border. The flow is in pixels, rows first.
    """

    def call(self, inputs):
        return warp(*inputs)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def warp(picture, flow):
    """Sample a picture at x + flow(x); see `BilinearWarp`."""
    shape = ops.shape(picture)
    height, width = shape[1], shape[2]
    places = []
    for axis, size in enumerate((height, width)):
        line = ops.cast(ops.arange(size), "float32")
        line = line[:, None] if axis == 0 else line[None, :]
        places.append(ops.clip(line[None] + flow[..., axis], 0.0, ops.cast(size - 1, "float32")))
    lower = [ops.floor(place) for place in places]
    share = [(place - low)[..., None] for place, low in zip(places, lower, strict=True)]
    low_y, low_x = (ops.cast(low, "int32") for low in lower)
    high_y, high_x = ops.minimum(low_y + 1, height - 1), ops.minimum(low_x + 1, width - 1)
    flat = ops.reshape(picture, (-1, height * width, picture.shape[-1]))

    def at(y, x):
        index = ops.reshape(y * width + x, (-1, height * width, 1))
        return ops.reshape(ops.take_along_axis(flat, index, axis=1), (-1, height, width, picture.shape[-1]))

    upper = at(low_y, low_x) * (1 - share[1]) + at(low_y, high_x) * share[1]
    below = at(high_y, low_x) * (1 - share[1]) + at(high_y, high_x) * share[1]
    return upper * (1 - share[0]) + below * share[0]


def _normalized(picture):
    gray = ops.average_pool(ops.mean(picture, axis=-1, keepdims=True), 2, 2, padding="same")
    mean, variance = gray, ops.zeros_like(gray)
    for axis in (1, 2):
        mean, variance = _moments(mean, variance, axis, 5)
    # A spread of 0.4 of 255 gray levels, about that of rounding: a faint cloud is a pattern as good as any.
    return (gray - mean) * ops.rsqrt(variance + 1e-5)


def _moments(mean, variance, axis: int, size: int):
    """Return mean and variance of `size` neighbors along an axis, themselves pixels or windows, inside the picture.

    By the differences from the mean (Chan et al. 1983): of squares alone, flat places keep two digits.
    """
    inside = _neighbors(ops.ones_like(mean), axis, size)
    count = ops.sum(inside, axis=-1, keepdims=True)
    means = _neighbors(mean, axis, size)
    of_all = ops.sum(means, axis=-1, keepdims=True) / count
    spread = inside * ops.square(means - of_all) + _neighbors(variance, axis, size)
    return of_all, ops.sum(spread, axis=-1, keepdims=True) / count


def _neighbors(x, axis: int, size: int):
    """Return the `size` pixels around each along an axis as channels, 0 outside of the picture."""
    margin = [size // 2, size // 2]
    padded = ops.pad(x, [[0, 0], margin if axis == 1 else [0, 0], margin if axis == 2 else [0, 0], [0, 0]])
    height, width = ops.shape(x)[1], ops.shape(x)[2]
    if axis == 1:
        return ops.concatenate([padded[:, i : i + height] for i in range(size)], axis=-1)
    return ops.concatenate([padded[:, :, i : i + width] for i in range(size)], axis=-1)


def _mean(x, size: int):
    """Return the mean of the size×size pixels around, of those that are inside the picture."""
    return ops.average_pool(x, size, 1, padding="same")
