"""Pairs of a degraded picture and the clean one, made from any source."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kerasgen import values
from kerasgen.data.augmentation import augmented, check_augmentation
from kerasgen.data.degradations import degradation as degradation_from
from kerasgen.data.loading import find_kind
from kerasgen.data.order import batches, shuffled_index
from kerasgen.data.sources.source import Fit, Kind
from kerasgen.errors import UserError
from kerasgen.typing import Config, Tensor

if TYPE_CHECKING:
    import tensorflow as tf


def load_paired(
    source: str,
    degradation: dict[str, Config] | Sequence[dict[str, Config]],
    split: str = "train",
    *,
    image_size: int = 64,
    channels: int = 3,
    batch_size: int = 16,
    augmentation: str = "turns",
    seed: int = 0,
    start_step: int | None = None,
    download: bool = False,
    data_dir: str | None = None,
) -> "tf.data.Dataset":
    """Batches of pairs for `PairedTranslator.fit`.

    A square is cut out of each picture at its own resolution (at random in training, else the middle), and degraded.
    In training the order, the squares, the augmentation and the noise are a pure function of the seed and of the
    place in the training; the other split has no augmentation and the same noise each time.

    Args:
        source: such as "folder:PATH"; see `available_sources`.
        degradation: such as {"kind": "noise", "sigma": 0.1}, or a list applied in its order; see
            `kerasgen.data.degradations`.
        split: "train" or "test".
        image_size: pixels of the clean squares.
        channels: of the pictures; "low_light" and "hole" need 3.
        batch_size: examples in a batch.
        augmentation: of the clean squares before they are degraded; see `kerasgen.data.augmentation`.
        seed: of all of it.
        start_step: gives an endless dataset that begins at this batch of the training; see `load`.
        download, data_dir: for "tfds:NAME"; see `load`.

    Returns:
        A dataset of dicts {"a": degraded, "b": clean}, float32 [batch, height, width, channels] in [-1, 1]. A
        "hole" gives "a" a fourth channel: 1 where a pixel is known, else -1.

    Raises:
        UserError: an argument doesn't fit, pictures are smaller than the square, or there is less than one batch.

    Example:
        load_paired("photos", {"kind": "noise", "sigma": 0.1}, image_size=32)
    """
    image_size, seed = values.pixels("image_size", image_size), values.seed("seed", seed)
    check_augmentation(augmentation, channels)
    degrade, training = degradation_from(degradation), split == "train"
    if channels != 3 and degrade.needs_color:
        raise UserError(
            f"channels is {channels}, but low_light and hole are of RGB pictures: give channels=3, or another "
            "degradation."
        )
    degrade.side_of(image_size)
    example, count = squares(find_kind(source, download, data_dir), split, image_size, augmentation, seed, channels)

    def pair(position: Tensor) -> dict[str, Tensor]:
        import tensorflow as tf

        clean = example(position)
        key = tf.stack([tf.constant(seed if training else _TEST_SEED, tf.int64), position])
        return {"a": degrade(clean, key) * 2.0 - 1.0, "b": clean * 2.0 - 1.0}

    return batches(
        f"The split {split!r} of {source!r}", pair, count, batch_size, training=training, start_step=start_step
    )


_TEST_SEED = 20170409


def squares(
    found: tuple[Kind, str], split: str, size: int, augmentation: str, seed: int, channels: int = 3
) -> tuple[Tensor, int]:
    """From an int64 position to a clean square [size, size, channels] in [0, 1]; and the number of pictures."""
    kind, argument = found
    opened, training = kind.open_split(argument, split, Fit("natural", (size, size)), channels), split == "train"

    def example(position: Tensor) -> Tensor:
        import tensorflow as tf

        index = shuffled_index(position, opened.count, seed) if training else position
        key = tf.stack([tf.constant(seed, tf.int64), position])
        draws = tf.random.stateless_uniform([8], tf.bitwise.invert(key)) if training else tf.fill([8], 0.5)
        image = _cut(opened.example(index)["image"], size, draws[:2])
        return augmented(image, augmentation, draws[2:]) if training else image

    return example, opened.count


def _cut(image: Tensor, size: int, share: Tensor) -> Tensor:
    import tensorflow as tf

    room = tf.shape(image)[:2] - size
    corner = tf.minimum(tf.cast(tf.cast(room + 1, tf.float32) * share, tf.int32), room)
    return tf.slice(image, [corner[0], corner[1], 0], [size, size, image.shape[-1]])
