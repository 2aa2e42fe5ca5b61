"""The paper's ways to bring pictures to a size: how they are fitted, cropped and flipped."""

from typing import TYPE_CHECKING

from kerasgen.data.sources.source import Fit, Rule
from kerasgen.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

MODES = ("resize_and_crop", "shift", "crop", "scale_width", "none")


def check_mode(mode: str) -> None:
    """Raise `UserError` unless there is such a mode."""
    if mode not in MODES:
        raise UserError(f"There is no mode {mode!r}: choose one of {', '.join(MODES)}.")


def fit_of(mode: str, size: int, training: bool) -> Fit:
    """Return how pictures are fitted before they are cropped."""
    if mode == "resize_and_crop":
        enlarged = round(size * 286 / 256) if training else size
        return Fit("stretch", (enlarged, enlarged))
    if mode == "shift":
        return Fit("stretch", (size, size))
    rules: dict[str, Rule] = {"crop": "natural", "scale_width": "width", "none": "fours"}
    return Fit(rules[mode], (size, size))


def cropped(image: "tf.Tensor", mode: str, size: int, key: "tuple[int | tf.Tensor, ...] | None") -> "tf.Tensor":
    """Return an image in [0, 1] in [-1, 1], cropped and flipped by `key` (the middle and unflipped without).

    Two images of one size and one key get the same crop and the same flip.
    """
    import tensorflow as tf

    image = image * 2.0 - 1.0
    if mode == "none":
        return image
    draws = None
    if key is not None:
        draws = tf.random.stateless_uniform([3], seed=tf.stack([tf.cast(part, tf.int64) for part in key]))
    if mode == "shift" and draws is not None:
        rim = size // 16
        image = tf.pad(image, [[rim, rim], [rim, rim], [0, 0]], "SYMMETRIC")
    if mode in ("resize_and_crop", "shift", "crop"):
        room = tf.shape(image)[:2] - size
        share = [0.5, 0.5] if draws is None else draws[:2]
        # A draw below 1 can round to 1 after the product, hence the minimum.
        corner = tf.minimum(tf.cast(tf.cast(room + 1, tf.float32) * share, tf.int32), room)
        image = tf.slice(image, [corner[0], corner[1], 0], [size, size, image.shape[-1]])
    if draws is None:
        return image
    return tf.cond(draws[2] < 0.5, lambda: image[:, ::-1], lambda: image)


def check_batch(dataset: "tf.data.Dataset", mode: str, batch_size: int) -> None:
    """Raise `UserError` if pictures of different sizes would have to make a batch."""
    if batch_size > 1 and any(None in spec.shape[1:] for spec in dataset.element_spec.values()):
        raise UserError(
            f"mode {mode!r} keeps pictures of different sizes, which don't make a batch of {batch_size}: "
            "choose batch_size=1, or another mode."
        )
