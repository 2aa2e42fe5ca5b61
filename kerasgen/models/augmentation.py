"""Differentiable augmentation: a discriminator of few pictures sees each in many forms.

Zhao et al. 2020, 2006.10738. The generator's gradient goes through the same forms, so that it isn't taught to make
them.
"""

from collections.abc import Sequence

import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.typing import Tensor

KINDS = ("color", "translation", "cutout")
_SHIFT = 0.125  # of a side at most
_HOLE = 0.5  # of a side


def check_augmentation(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds.

    Raises:
        UserError: one of them is unknown.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or isinstance(kinds, str):
        raise UserError(f"differentiable_augmentation is {kinds!r}: give a list of some of {', '.join(KINDS)}.")
    return tuple(kinds)


def augmented(images: Tensor, kinds: Sequence[str], seed: Tensor, condition: Tensor | None = None) -> Tensor:
    """Return images as a discriminator sees them.

    Args:
        images: [batch, height, width, channels] in [-1, 1].
        kinds: some of "color" (brightness, saturation, contrast), "translation" and "cutout"; none leaves the images.
        seed: two integers.
        condition: [batch, height, width, …] that goes before the images' channels and is moved and cut with them.

    Returns:
        Images, or condition and images in one.
    """
    draws = tf.random.stateless_uniform([tf.shape(images)[0], 7], seed)
    if "color" in kinds:
        images = colored(images, draws[:, :3])
    if condition is not None:
        images = tf.concat([condition, images], axis=-1)
    if "translation" in kinds:
        images = translated(images, draws[:, 3:5])
    return cut_out(images, draws[:, 5:]) if "cutout" in kinds else images


def colored(images: Tensor, draws: Tensor) -> Tensor:
    """Change brightness by -0.5 to 0.5, then saturation 0 to 2 times, then contrast 0.5 to 1.5 times.

    Args:
        images: [batch, height, width, channels].
        draws: [batch, 3] in [0, 1).
    """
    brightness, saturation, contrast = (draws[:, i, None, None, None] for i in range(3))
    images += brightness - 0.5
    gray = tf.reduce_mean(images, axis=-1, keepdims=True)
    images = (images - gray) * (2.0 * saturation) + gray
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return (images - mean) * (contrast + 0.5) + mean


def translated(images: Tensor, draws: Tensor) -> Tensor:
    """Move pictures by whole pixels, an eighth of a side at most; what comes in is 0.

    Args:
        images: [batch, height, width, channels].
        draws: [batch, 2] in [0, 1), of rows and columns.
    """
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    for axis, size in ((1, images.shape[1]), (2, images.shape[2])):
        most = int(size * _SHIFT + 0.5)
        shift = _whole(draws[:, axis - 1], 2 * most + 1) - most
        places = tf.clip_by_value(tf.range(size)[None] + shift[:, None] + 1, 0, size + 1)
        padded = tf.gather(padded, places, axis=axis, batch_dims=1)
    return padded


def cut_out(images: Tensor, draws: Tensor) -> Tensor:
    """Put 0 into a square of half a side, which may reach over the border.

    Args:
        images: [batch, height, width, channels].
        draws: [batch, 2] in [0, 1), of the middle's row and column.
    """
    inside = []
    for axis, size in ((1, images.shape[1]), (2, images.shape[2])):
        hole = int(size * _HOLE + 0.5)
        start = _whole(draws[:, axis - 1], size + 1 - hole % 2) - hole // 2
        lines = tf.range(size)[None]
        inside.append((lines >= start[:, None]) & (lines < start[:, None] + hole))
    rows, columns = inside
    return tf.where((rows[:, :, None] & columns[:, None, :])[..., None], 0.0, images)


def _whole(draw: Tensor, count: int) -> Tensor:
    """Return whole numbers below `count` of numbers in [0, 1)."""
    return tf.minimum(tf.cast(draw * count, tf.int32), count - 1)
