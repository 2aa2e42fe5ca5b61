"""Pictures alone, as a translator takes them."""

from typing import TYPE_CHECKING

from kerasgen import values
from kerasgen.data.cropping import check_batch, check_mode, cropped, fit_of
from kerasgen.data.loading import find_kind
from kerasgen.data.order import batches, shuffled_index
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


def load_inputs(
    source: str,
    split: str = "train",
    *,
    image_size: int = 256,
    channels: int = 3,
    batch_size: int = 1,
    mode: str = "resize_and_crop",
    seed: int = 0,
    start_step: int | None = None,
    download: bool = False,
    data_dir: str | None = None,
) -> "tf.data.Dataset":
    """Return batches of pictures for `Distiller.fit`: what a teacher answers needs no pairs.

    In training order, crops and flips are a pure function of the seed and of the place in the training; other splits
    come in order, without randomness, and the last batch may be small.

    Args:
        source: such as "folder:PATH"; see `available_sources`.
        split: "train", "val" or "test".
        image_size: pixels of the square pictures.
        channels: of the pictures.
        batch_size: examples in a batch.
        mode: "resize_and_crop", "shift", "crop", "scale_width" or "none"; see `load_unpaired`.
        seed: of the order, crops and flips.
        start_step: gives an endless dataset that begins at this batch of the training; see `load`.
        download, data_dir: for "tfds:NAME"; see `load`.

    Returns:
        A dataset of dicts {"a": float32 [batch, height, width, channels] in [-1, 1]}.

    Raises:
        UserError: there is no such source, split or mode, pictures are smaller than the crop, or there is less than
            one batch.

    Example:
        load_inputs("photos", image_size=32, batch_size=4, mode="crop")
    """
    image_size, seed = values.pixels("image_size", image_size), values.seed("seed", seed)
    check_mode(mode)
    training = split == "train"
    kind, argument = find_kind(source, download, data_dir)
    opened = kind.open_split(argument, split, fit_of(mode, image_size, training), channels)

    def example(position: Tensor) -> dict[str, Tensor]:
        index = shuffled_index(position, opened.count, seed) if training else position
        key = (seed, position) if training else None
        return {"a": cropped(opened.example(index)["image"], mode, image_size, key)}

    name = f"The split {split!r} of {source!r}"
    dataset = batches(name, example, opened.count, batch_size, training=training, start_step=start_step)
    check_batch(dataset, mode, batch_size)
    return dataset
