"""Two domains without pairs, as CycleGAN trains on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kerasgen import values
from kerasgen.data.cropping import check_batch, check_mode, cropped, fit_of
from kerasgen.data.degradations import degradation as degradation_from
from kerasgen.data.loading import find_kind
from kerasgen.data.order import batches, shuffled_index
from kerasgen.data.sources.source import Fit, Kind, Source
from kerasgen.errors import UserError
from kerasgen.typing import Config, Tensor

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class _Side:
    """One domain: `example` gives {"image"(, "truth")}, the truth being its translation."""

    count: int
    example: Callable[[Tensor], dict[str, Tensor]]


def load_unpaired(
    source_a: str,
    source_b: str,
    split: str = "train",
    *,
    image_size: int = 256,
    channels: int = 3,
    batch_size: int = 1,
    mode: str = "resize_and_crop",
    seed: int = 0,
    start_step: int | None = None,
    degradation: dict[str, Config] | Sequence[dict[str, Config]] | None = None,
    download: bool = False,
    data_dir: str | None = None,
) -> "tf.data.Dataset":
    """Batches from two domains for `CycleGAN.fit`.

    An epoch is as long as the larger domain; the other one starts over in a new order. In training both are shuffled
    independently; order, crops and flips are a pure function of the seed and the place in the training. Other splits
    come in order, without randomness, and the last batch may be small.

    Where one source is a degraded copy of the other ("digits" and "digits_ink", "photos" and "photo_dusk"), training
    takes A from one half of the examples and B from the other, so that no pair is ever seen, and the test split
    brings the truth.

    Args:
        source_a: such as "folder:horses"; see `available_sources`.
        source_b: such as "folder:zebras".
        split: "train" or "test".
        image_size: pixels of the square images.
        channels: 1 or 3.
        batch_size: examples in a batch.
        mode: "resize_and_crop" stretches to 286/256 of `image_size` and cuts a random square out, as the paper does
            (the test split: stretches to `image_size`); "shift" stretches to `image_size` and moves the picture by up
            to a sixteenth of it, over a mirrored rim (the test split: leaves it in place); "crop" cuts a random
            square out of the picture as it is (the test split: the middle); "scale_width" scales to that width and
            keeps the aspect; "none" leaves pictures as they are, but for sides divisible by 4. In training all but
            "none" flip one image in two.
        seed: of the order, crops and flips.
        start_step: gives an endless dataset that begins at this batch of the training; see `load`.
        degradation: turns one source, given as both, into two domains: A its degraded pictures, B the clean ones;
            see `kerasgen.data.degradations`. It must keep the size and three channels.
        download, data_dir: for "tfds:NAME"; see `load`.

    Returns:
        A dataset of dicts {"a": float32 [batch, height, width, channels] in [-1, 1], "b": the same}; the test split
        also has "truth_b" (what a should become) and "truth_a" (what b should become) where they are known.

    Raises:
        UserError: there is no such source, split or mode, pictures are smaller than the crop, images of different
            sizes don't make a batch, or there is less than one batch.

    Example:
        load_unpaired("digits", "digits_ink", image_size=16, batch_size=16, mode="none")
    """
    image_size, seed = values.pixels("image_size", image_size), values.seed("seed", seed)
    check_mode(mode)
    training = split == "train"
    kinds = tuple(find_kind(source, download, data_dir) for source in (source_a, source_b))
    fit = fit_of(mode, image_size, training)
    if degradation is None:
        sides = _sides(source_a, source_b, kinds, split, fit, channels)
    else:
        sides = _degraded_sides(source_a, source_b, kinds[0], split, fit, channels, degradation, seed)

    def example(position: Tensor) -> dict[str, Tensor]:
        found = {}
        for stream, (name, other) in enumerate((("a", "b"), ("b", "a"))):
            side = sides[stream]
            index = shuffled_index(position, side.count, seed, stream) if training else position % side.count
            read = side.example(index)
            key = (seed, 2 * position + stream) if training else None
            found[name] = cropped(read["image"], mode, image_size, key)
            if "truth" in read:
                found[f"truth_{other}"] = cropped(read["truth"], mode, image_size, key)
        return found

    name = f"The split {split!r} of {source_a!r} and {source_b!r}"
    count = max(side.count for side in sides)
    dataset = batches(name, example, count, batch_size, training=training, start_step=start_step)
    check_batch(dataset, mode, batch_size)
    return dataset


def _degraded_sides(
    source_a: str,
    source_b: str,
    found: tuple[Kind, str],
    split: str,
    fit: Fit,
    channels: int,
    config: Config,
    seed: int,
) -> tuple[_Side, _Side]:
    if source_a != source_b or channels != 3:
        raise UserError(
            f"A degradation makes both domains from one source in color, but {source_a!r} and {source_b!r} with "
            f"{channels} channels were given: give the same source twice, and channels=3."
        )
    kind, argument = found
    degrade = degradation_from(config)
    clean = kind.open_split(argument, split, fit, channels)

    def degraded(index: Tensor) -> dict[str, Tensor]:
        import tensorflow as tf

        image = clean.example(index)["image"]
        # An example is degraded in the same way each time: unpaired training needs no fresh noise.
        changed = degrade(image, tf.stack([tf.constant(seed, tf.int64), index]))
        return {"image": tf.ensure_shape(changed, image.shape)}

    return _related(replace(clean, example=degraded, read=None), clean, split)


def _sides(
    source_a: str, source_b: str, kinds: tuple[tuple[Kind, str], ...], split: str, fit: Fit, channels: int
) -> tuple[_Side, _Side]:
    if source_a == source_b:
        raise UserError(f"Both domains are {source_a!r}: give two different sources.")
    (kind_a, argument_a), (kind_b, argument_b) = kinds
    related = (kind_a.base or source_a) == (kind_b.base or source_b)
    if related and channels != 3:
        raise UserError(f"channels is {channels}, but {source_a!r} or {source_b!r} has colors: give channels=3.")
    opened_a = kind_a.open_split(argument_a, split, fit, channels)
    opened_b = kind_b.open_split(argument_b, split, fit, channels)
    if related:
        return _related(opened_a, opened_b, split)
    return _Side(opened_a.count, opened_a.example), _Side(opened_b.count, opened_b.example)


def _related(a: Source, b: Source, split: str) -> tuple[_Side, _Side]:
    """Make two domains that show the same examples: disjoint halves to train on, the truth to test on."""
    half = a.count // 2 if a.second_half is None else a.second_half
    if split == "train":
        return _Side(half, _view(a, 0)), _Side(b.count - half, _view(b, half))
    # B begins elsewhere, so that no element holds a pair beside its own truth.
    return _Side(a.count, _view(a, 0, b)), _Side(b.count, _view(b, half, a))


def _view(own: Source, first: int, other: Source | None = None) -> Callable[[Tensor], dict[str, Tensor]]:
    def example(index: Tensor) -> dict[str, Tensor]:
        place = (index + first) % own.count
        found = {"image": own.example(place)["image"]}
        return found if other is None else {**found, "truth": other.example(place)["image"]}

    return example
