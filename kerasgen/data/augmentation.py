"""What pictures are changed by in training, so that a few of them show many things."""

from kerasgen.errors import UserError
from kerasgen.typing import Tensor

AUGMENTATIONS = ("none", "flips", "flips_and_shifts", "turns", "turns_and_colors")
DRAWS = 6  # numbers that one picture's changes need
_RIM = 16  # the part of a side that a picture is moved by at most


def check_augmentation(augmentation: str, channels: int | None = None, square: bool = True) -> None:
    """Raise `UserError` unless there is such an augmentation, and it suits the pictures.

    Args:
        augmentation: one of `AUGMENTATIONS`.
        channels: of the pictures; None is any.
        square: whether their sides are equal.
    """
    if augmentation not in AUGMENTATIONS:
        raise UserError(f"There is no augmentation {augmentation!r}: choose one of {', '.join(AUGMENTATIONS)}.")
    if augmentation.startswith("turns") and not square:
        raise UserError(f"The augmentation {augmentation!r} needs square pictures: choose flips, or one image_size.")
    if augmentation == "turns_and_colors" and channels not in (None, 3):
        raise UserError(
            f"channels is {channels}, but the augmentation turns_and_colors is of RGB pictures: give channels=3, or "
            "choose turns."
        )


def augmented(image: Tensor, augmentation: str, draws: Tensor) -> Tensor:
    """Return a picture that is changed in one of many ways, of the same shape.

    Args:
        image: [height, width, channels] in [0, 1].
        augmentation: "none"; "flips", left for right; "flips_and_shifts", moved too, by up to a sixteenth of a side,
            what comes in being mirrored; "turns", flips and quarter turns; or "turns_and_colors", channels in another
            order and negatives too.
        draws: [`DRAWS`] in [0, 1), by which the way is chosen.

    Example:
        augmented(np.zeros((32, 32, 3), np.float32), "flips", np.full(6, 0.2))
    """
    import tensorflow as tf

    if augmentation == "none":
        return image
    shape = image.shape
    if augmentation.startswith("turns"):
        image = tf.image.rot90(image, tf.cast(4.0 * draws[0], tf.int32))
        image = tf.where(draws[1] < 0.5, image[:, ::-1], image)
    else:
        image = tf.cond(draws[1] < 0.5, lambda: image[:, ::-1], lambda: image)
    if augmentation == "flips_and_shifts":
        image = _shifted(image, draws[2:4])
    if augmentation == "turns_and_colors":
        image = tf.gather(image, tf.argsort(draws[2:5]), axis=-1)
        image = tf.where(draws[5] < 0.5, 1.0 - image, image)
    return tf.ensure_shape(image, shape)


def _shifted(image: Tensor, draws: Tensor) -> Tensor:
    import tensorflow as tf

    size = tf.shape(image)
    rims = size[:2] // _RIM
    padded = tf.pad(image, tf.stack([tf.stack([rims[0]] * 2), tf.stack([rims[1]] * 2), [0, 0]]), "SYMMETRIC")
    # A draw below 1 can round to 1 after the product, hence the minimum.
    corner = tf.minimum(tf.cast(tf.cast(2 * rims + 1, tf.float32) * draws, tf.int32), 2 * rims)
    return tf.slice(padded, tf.concat([corner, [0]], 0), size)
