"""Pairs that people have: two folders of the same names, or pictures that stand side by side."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerasgen import values
from kerasgen.data.cropping import check_batch, check_mode, cropped, fit_of
from kerasgen.data.loading import find_kind, halves_of
from kerasgen.data.order import batches, shuffled_index
from kerasgen.data.reading import or_the_next
from kerasgen.data.scanning import drawn
from kerasgen.data.sources.source import Fit, Origin, Source, check_switch, picture_shape
from kerasgen.errors import UserError, sentence

if TYPE_CHECKING:
    import tensorflow as tf

_NAMED = 3


def load_pairs(
    source_a: str,
    source_b: str | None = None,
    split: str = "train",
    *,
    image_size: int = 256,
    channels: int | None = None,
    batch_size: int = 1,
    mode: str = "resize_and_crop",
    condition: str | Sequence[str] = (),
    unknown: float = 0.0,
    swap: bool = False,
    seed: int = 0,
    start_step: int | None = None,
    download: bool = False,
    data_dir: str | None = None,
) -> "tf.data.Dataset":
    """Return batches of pairs for `PairedTranslator.fit`, such as sketches and what they are colored.

    Two pictures of one name, whatever their suffixes and in whichever subfolder, are a pair; what has no partner is
    named in a warning and left out. Both get the same crop and the same flip. In training order, crops and flips are
    a pure function of the seed and the place in the training; other splits come in order, without randomness.

    Folders called train, val and test are the splits of a folder that has them; without them a tenth of the pairs,
    chosen by their names, is the test split.

    Args:
        source_a: what is given, such as "folder:sketches"; or "side_by_side:PATH", pictures whose left half is A and
            whose right half is B, without a `source_b`.
        source_b: what it should become, such as "folder:colored".
        split: "train", "val" or "test".
        image_size: pixels of the square pictures.
        channels: of both; None takes each source's own: 3 of pictures in a folder, all of arrays.
        batch_size: examples in a batch.
        mode: "resize_and_crop", "shift", "crop", "scale_width" or "none"; see `load_unpaired`.
        condition: more to give beside A, as further channels: what A's source knows of each example ("label" of a
            folder with classes, "tone", "group" and "attributes" of OpenMoji), or pictures of A's names, such as
            "folder:masks"; or several of these.
        unknown: share of the training's examples whose sources' facts are all 0 instead, so that a model learns what
            to do where nobody knows them.
        swap: the other way around: A is to be made of B.
        seed: of the order, crops and flips.
        start_step: gives an endless dataset that begins at this batch of the training; see `load`.
        download: whether a "tfds:NAME" that isn't there may be downloaded and prepared.
        data_dir: where the sets of "tfds:NAME" are.

    Returns:
        A dataset of dicts {"a": float32 [batch, height, width, channels] in [-1, 1], "b": the same}; "a" has one
        more channel for each number of a condition.

    Raises:
        UserError: there is no such source, split, mode or condition, no two names are alike, pictures are smaller
            than the crop, or there is less than one batch.

    Example:
        model.fit(load_pairs("folder:sketches", "folder:colored", image_size=128, batch_size=8))
    """
    image_size, seed = values.pixels("image_size", image_size), values.seed("seed", seed)
    check_mode(mode)
    check_switch("swap", swap)
    if values.number("unknown", unknown, least=0) > 1:
        raise UserError(f"unknown is {unknown}: give a share of the examples, 0 to 1.")
    if source_b is None:
        source_a, source_b = halves_of(source_a)
    if swap:
        source_a, source_b = source_b, source_a
    training, fit = split == "train", fit_of(mode, image_size, split == "train")
    facts = (condition,) if isinstance(condition, str) else tuple(condition)
    if not all(isinstance(fact, str) for fact in facts):
        raise UserError(f"condition is {str(condition)[:60]!r}: give a name such as 'label', or several.")
    shown = (source_a, source_b, *(fact for fact in facts if ":" in fact))
    sides = _opened(shown, split, fit, channels, {"download": download, "data_dir": data_dir})
    if sides[0].names:
        rows = _matched(shown, tuple(side.names for side in sides))
        if all(side.drawn for side in sides):
            test = drawn([sides[0].names[row[0]] for row in rows])
            rows = rows[[(sides[0].names[row[0]] in test) != training for row in rows]]
    else:
        rows = np.arange(sides[0].count)[:, None].repeat(len(sides), axis=1)
    if not len(rows):
        raise UserError(
            f"{source_a!r} and {source_b!r} have no pair for the split {split!r}: give two pairs at least."
        )
    rows = _of_one_size(shown, sides, rows, fit)
    planes = _planes(sides[0], source_a, [fact for fact in facts if ":" not in fact])
    name = f"The split {split!r} of {source_a!r} and {source_b!r}"
    of_row = _pictures_of_rows(sides, rows, f"t{name[1:]}")

    def example(position: "tf.Tensor") -> "dict[str, tf.Tensor]":
        import tensorflow as tf

        place = shuffled_index(position, len(rows), seed) if training else position
        key = (seed, position) if training else None
        pictures, row = of_row(place)
        a, b, *more = (cropped(picture, mode, image_size, key) for picture in pictures)
        if planes is not None:
            known = tf.constant(planes)[row[0]]
            if key is not None and unknown:
                other = tf.bitwise.invert(tf.stack([tf.constant(seed, tf.int64), position]))
                draw = tf.random.stateless_uniform([], other)
                known = tf.where(draw < unknown, 0.0, known)
            more.append(tf.ones_like(a[..., :1]) * known)
        return {"a": tf.concat([a, *more], axis=-1) if more else a, "b": b}

    dataset = batches(name, example, len(rows), batch_size, training=training, start_step=start_step)
    check_batch(dataset, mode, batch_size)
    return dataset


def _opened(sources: Sequence[str], split: str, fit: Fit, channels: int | None, origin: Origin) -> list[Source]:
    """Open all sources; one whose split would be drawn by lot is opened whole, because the pairs are drawn later."""
    if sources[0] == sources[1]:
        raise UserError(f"Both sides are {sources[0]!r}: give two sources, or side_by_side:PATH.")
    found, sides = [find_kind(source, **origin) for source in sources], []
    for kind, argument in found:
        side = kind.open_split(argument, split, fit, channels)
        sides.append(kind.open_split(argument, "all", fit, channels) if side.drawn else side)
    # What shows the same examples in another way needs no names.
    same = {(kind.base or source, argument) for source, (kind, argument) in zip(sources, found, strict=True)}
    for source, side in zip(sources, sides, strict=True):
        if not side.names and len(same) > 1:
            raise UserError(f"The examples of {source!r} have no names to pair them by: put both sides into folders.")
    return sides


@functools.lru_cache(maxsize=64)
def _matched(sources: tuple[str, ...], names: tuple[tuple[str, ...], ...]) -> np.ndarray:
    """Return the places [n, sides] of the examples of one name. The cache is why it warns once."""
    places = []
    for source, side in zip(sources, names, strict=True):
        place = {name: i for i, name in enumerate(side)}
        if len(place) < len(side):
            twice = next(name for i, name in enumerate(side) if place[name] != i)
            raise UserError(f"Two pictures of {source!r} are called {twice!r}: a pair needs one. Rename the other.")
        places.append(place)
    common = [name for name in names[0] if all(name in place for place in places)]
    if not common:
        others = " and ".join(map(repr, sources[1:]))
        raise UserError(
            f"No picture of {sources[0]!r} is called like one of {others}: partners need one name, such as "
            f"{next(iter(places[0]), '1')!r}."
        )
    paired = set(common)
    unpaired = [[name for name in side if name not in paired] for side in names]
    missing = [f"{source}: {name}" for source, side in zip(sources, unpaired, strict=True) for name in side]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        text = f"{len(missing)} pictures have no partner and are left out: {', '.join(missing[:_NAMED])}{more}"
        warnings.warn(sentence(text), stacklevel=3)
    return np.array([[place[name] for place in places] for name in common], np.int64)


def _of_one_size(sources: Sequence[str], sides: Sequence[Source], rows: np.ndarray, fit: Fit) -> np.ndarray:
    """Return the pairs whose pictures have one size after they were fitted."""
    known = [side.sizes for side in sides]
    if fit.rule == "stretch" or not all(known):
        return rows
    alike = [len({fit.place(*sizes[i][::-1])[1] for sizes, i in zip(known, row, strict=True)}) == 1 for row in rows]
    if not any(alike):
        raise UserError(
            f"The pictures of {sources[0]!r} and {sources[1]!r} have different sizes, which get no common crop: make "
            "them alike, or choose the mode resize_and_crop."
        )
    if not all(alike):
        name = sides[0].names[rows[alike.index(False), 0]]
        warnings.warn(
            f"{len(alike) - sum(alike)} pairs of pictures of different sizes are left out, such as {name}.",
            stacklevel=3,
        )
    return rows[np.array(alike)]


def _pictures_of_rows(
    sides: Sequence[Source], rows: np.ndarray, where: str
) -> "Callable[[tf.Tensor], tuple[list[tf.Tensor], tf.Tensor]]":
    """Return a function from a pair's place to its pictures and its row; a damaged picture takes its pair with it."""
    import tensorflow as tf

    table, readers = tf.constant(rows, tf.int64), [side.read for side in sides if side.read is not None]
    if len(readers) < len(sides):

        def in_the_graph(place: "tf.Tensor") -> "tuple[list[tf.Tensor], tf.Tensor]":
            return [side.example(table[place, i])["image"] for i, side in enumerate(sides)], table[place]

        return in_the_graph

    def read(place: int) -> list[np.ndarray]:
        return [read_one(int(i)) for read_one, i in zip(readers, rows[place], strict=True)]

    whole, shapes = or_the_next(read, len(rows), "pair", where), [picture_shape(side.example) for side in sides]

    def flat(place: np.ndarray) -> tuple[np.ndarray | np.int64, ...]:
        pictures, chosen = whole(place)
        return (*pictures, chosen)

    def of_row(place: "tf.Tensor") -> "tuple[list[tf.Tensor], tf.Tensor]":
        kinds = (*[tf.float32] * len(sides), tf.int64)
        *pictures, chosen = tf.numpy_function(flat, [place], kinds, stateful=False)
        fitting = [tf.ensure_shape(picture, shape) for picture, shape in zip(pictures, shapes, strict=True)]
        return fitting, table[tf.ensure_shape(chosen, ())]

    return of_row


def _planes(side: Source, name: str, facts: Sequence[str]) -> np.ndarray | None:
    """Return what is known of each example of a source: float32 [count, k] in [-1, 1]."""
    for fact in facts:
        if fact not in side.conditions:
            known = ", ".join(side.conditions) or "nothing"
            raise UserError(f"The source {name!r} knows no {fact!r} of its pictures: it knows {known}.")
    return np.concatenate([side.conditions[fact] for fact in facts], axis=-1) if facts else None
