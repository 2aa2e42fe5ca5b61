"""The registry of sources, and batches from any of them."""

import difflib
import functools
import numbers
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from kerasgen import values
from kerasgen.data import balance as balancing
from kerasgen.data.augmentation import DRAWS, augmented, check_augmentation
from kerasgen.data.order import batches, shuffled_index
from kerasgen.data.sources import digits, domains, folder, lfw, openmoji, photos, pictures, side_by_side, tfds
from kerasgen.data.sources.source import Fit, Kind, Origin, Source, check_switch, picture_shape
from kerasgen.errors import UserError
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    import tensorflow as tf

# A new source is a file with a KIND, and its line here.
SOURCES: dict[str, Kind] = {
    "digits": digits.KIND,
    "photos": photos.KIND,
    "pictures": pictures.KIND,
    "folder": folder.KIND,
    "side_by_side": side_by_side.PAIRS,
    "left": side_by_side.LEFT,
    "right": side_by_side.RIGHT,
    "tfds": tfds.KIND,
    "digits_ink": domains.DIGITS_INK,
    "photo_dusk": domains.PHOTO_DUSK,
    "lfw": lfw.KIND,
    "openmoji": openmoji.KIND,
    "openmoji_lines": openmoji.LINES,
    "openmoji_attributes": openmoji.ATTRIBUTES,
}


def available_sources() -> dict[str, str]:
    """How each source is written, such as "folder:PATH", and one line about it.

    Example:
        available_sources()["digits"]
    """
    return {name + kind.usage: kind.description for name, kind in SOURCES.items()}


def find_kind(source: str, download: bool = False, data_dir: str | None = None) -> tuple[Kind, str]:
    """Return the registry's entry for "name:argument", and the argument.

    `download` and `data_dir` go to the sources that take them, and mean nothing to others.

    Raises:
        UserError: there is none, or an argument is missing or too much.
    """
    if not isinstance(source, str):
        raise UserError(f"The data source is {source!r}: choose one of {', '.join(available_sources())}.")
    check_switch("download", download)
    name, _, argument = source.partition(":")
    if name not in SOURCES:
        if os.path.isdir(os.path.expanduser(source)):
            raise UserError(f"There is no data source {source!r}, but a folder: did you mean folder:{source}?")
        close = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.7)
        # Without the whole source, whose path may be so long that the sentence would be cut.
        wanted = f"did you mean {close[0] + source[len(name) :]}? If not, choose" if close else "choose"
        raise UserError(f"There is no data source {name[:60]!r}: {wanted} one of {', '.join(available_sources())}.")
    kind = SOURCES[name]
    if argument and not kind.usage:
        raise UserError(f"The source {name!r} takes nothing behind a colon, but got {argument!r}: write {name!r}.")
    if kind.usage and not argument:
        raise UserError(f"The source {source!r} needs something behind a colon: write {name}{kind.usage}.")
    given = {"download": download, "data_dir": data_dir}
    options = {option: given[option] for option in kind.takes}
    return (replace(kind, open_split=functools.partial(kind.open_split, **options)) if options else kind), argument


def halves_of(source: str) -> tuple[str, str]:
    """Return the sources of A and B that "side_by_side:PATH" stands for.

    Raises:
        UserError: it is another source, which holds no pairs.
    """
    if not isinstance(source, str):
        raise UserError(f"The data source is {source!r}: choose one of {', '.join(available_sources())}.")
    name, _, argument = source.partition(":")
    if name != "side_by_side":
        raise UserError(
            f"{source!r} alone holds no pairs: give a second source, such as folder:colored, or side_by_side:PATH."
        )
    return f"left:{argument}", f"right:{argument}"


def settled(source: str) -> str:
    """Return a source with all that had to be measured of its data written down, for a run's configuration."""
    kind, argument = find_kind(source)
    return f"{source.partition(':')[0]}:{kind.settle(argument)}" if kind.usage else source


def open_source(
    source: str,
    split: str = "train",
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    *,
    download: bool = False,
    data_dir: str | None = None,
) -> Source:
    """Random access to one split of a source such as "digits" or "folder:PATH"; see `load`.

    Raises:
        UserError: there is no such source or split, or an argument doesn't fit it.
    """
    kind, argument = find_kind(source, download, data_dir)
    size = None
    if isinstance(image_size, numbers.Integral | str):
        size = (values.pixels("image_size", image_size),) * 2
    elif image_size is not None:
        height, width = values.shape("image_size", image_size, "height, width")
        size = (height, width)
    return kind.open_split(argument, split, Fit("cut", size), channels)


def load(
    source: str,
    split: str = "train",
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    batch_size: int = 32,
    shuffle: bool | None = None,
    seed: int = 0,
    start_step: int | None = None,
    balance: str | None = None,
    augmentation: str = "none",
    download: bool = False,
    data_dir: str | None = None,
) -> "tf.data.Dataset":
    """Batches of images, ready for `model.fit`.

    Args:
        source: such as "digits" or "folder:PATH"; see `available_sources`.
        split: "train" or "test".
        image_size: pixels, one number or (height, width); None takes the source's own.
        channels: 1 or 3; None takes the source's own.
        batch_size: examples in a batch.
        shuffle: a new order in each epoch (each iteration over the dataset), and full batches only (an uneven one
            would weigh its examples more); None does so for the train split. Otherwise the order is fixed and the
            last batch may be small.
        seed: of the order, which is a pure function of the seed and the epoch.
        start_step: gives an endless dataset that begins at this batch of the training, for `fit` with
            `steps_per_epoch`: the same batches as if all before had been drawn. Only for shuffled data.
        balance: against rare classes: "batch", "inverse", "effective" or "attributes" adds a "sample_weight", and
            "sampling" draws each class equally often; see `kerasgen.data.balance`. Only for shuffled data.
        augmentation: what shuffled pictures are changed by, so that a few show many things: "flips",
            "flips_and_shifts", "turns" or "turns_and_colors"; see `kerasgen.data.augmentation`. A pure function of
            the seed and of the place in the training; data in a fixed order stays as it is.
        download: whether a "tfds:NAME" that isn't there may be downloaded and prepared.
        data_dir: where the sets of "tfds:NAME" are; None is TensorFlow Datasets' own folder.

    Returns:
        A dataset of dicts {"image": float32 [batch, height, width, channels] in [0, 1] (, "label": int32 [batch], or
        float32 [batch, k] of 0 and 1 where an example has several)}.

    Raises:
        UserError: there is no such source or split, an argument doesn't fit, or there is less than one batch.

    Example:
        batches = load("digits", split="train", batch_size=64)
        next(iter(batches))["image"]  # [64, 16, 16, 1] in [0, 1]
    """
    seed, batch_size = values.seed("seed", seed), values.whole("batch_size", batch_size)
    check_augmentation(augmentation)
    if shuffle is not None:
        check_switch("shuffle", shuffle)
    opened = open_source(source, split, image_size, channels, download=download, data_dir=data_dir)
    shuffle = split == "train" if shuffle is None else shuffle
    per_epoch = max(1, opened.count // batch_size * batch_size)

    order = None
    if balance is not None:
        if not shuffle:
            raise UserError(f"balance is {balance!r}, but the data isn't shuffled: balance the train split only.")
        labels = balancing.labels_of(opened, source)
        order = balancing.balanced_order(labels, seed) if balance == "sampling" else None

    def shuffled(position: Tensor) -> dict[str, Tensor]:
        if order is not None:
            return opened.example(order(position))
        # What fills no whole batch is left out of an epoch's order, and differs from epoch to epoch.
        place = position // per_epoch * opened.count + position % per_epoch
        return opened.example(shuffled_index(place, opened.count, seed))

    example = _changing(shuffled, augmentation, seed) if shuffle else opened.example
    name = f"The split {split!r} of {source!r}"
    dataset = batches(name, example, opened.count, batch_size, training=shuffle, start_step=start_step)
    return dataset if balance in (None, "sampling") else dataset.map(balancing.weighting(balance, labels))


def load_some(
    source: str, split: str, most: int, batch_size: int, shape: tuple[int, int, int], origin: Origin
) -> "tf.data.Dataset":
    """Batches of a split in its order, or of `most` examples or so from all parts of a larger one.

    The files of a folder lie class by class: its first ones would be of one.

    Args:
        source, split, batch_size: see `load`.
        most: examples.
        shape: (height, width, channels) of the pictures.
        origin: where a "tfds:NAME" lies.
    """
    height, width, channels = shape
    size = (height, width)
    mixed = open_source(source, split, size, channels, **origin).count > most
    shown = load(source, split, image_size=size, channels=channels, shuffle=mixed, batch_size=batch_size, **origin)
    return shown.take(-(-most // batch_size))


def _changing(example: Callable[[Tensor], dict[str, Tensor]], augmentation: str, seed: int) -> Callable:
    """Return an example's function whose pictures are augmented, each place of the training in its own way.

    Raises:
        UserError: there is no such augmentation, or it doesn't suit the pictures.
    """
    import tensorflow as tf

    if augmentation == "none":
        return example
    height, width, channels = picture_shape(example)
    check_augmentation(augmentation, channels, height == width)

    def changed(position: Tensor) -> dict[str, Tensor]:
        found = example(position)
        # The seed's complement keeps these draws apart from those of other streams of one seed.
        key = tf.bitwise.invert(tf.stack([tf.constant(seed, tf.int64), position]))
        draws = tf.random.stateless_uniform([DRAWS], key)
        return {**found, "image": augmented(found["image"], augmentation, draws)}

    return changed
