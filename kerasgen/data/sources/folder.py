"""A folder of the user's own pictures."""

import contextlib
import difflib
import functools
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from kerasgen import values
from kerasgen.data.deep import MOST_CHANNELS
from kerasgen.data.reading import PictureError, numbers, or_the_next, read_picture, to_float
from kerasgen.data.scanning import READABLE, PictureFile, Scan, drawn, scan, splits_of
from kerasgen.data.sources.source import Fit, Kind, Source, check_channels, check_split
from kerasgen.errors import UserError
from kerasgen.typing import Tensor

_KEPT = 2**29  # bytes of small pictures that stay in memory: most of the time of reading is spent on decoding
_RANGE = "?range="


class Reader(Protocol):
    """What gives the picture of a file, as `read_picture` does."""

    def __call__(
        self, path: Path, fit: Fit, channels: int, value_range: tuple[float, float] | None
    ) -> np.ndarray: ...


def open_split(
    argument: str, split: str, fit: Fit, channels: int | None, read: Reader = read_picture, parts: int = 1
) -> Source:
    """Open the pictures below the folder `argument`, of any sizes and depths, gray or in color.

    Subfolders called train, val and test, or alike, are the splits (see `scanning.splits_of`); "val" is the test
    split where there is no other, and the other way around. Without such folders a tenth of the files, chosen by
    their names, is the test split. Where every picture lies in a subfolder, and there are two at least, the
    subfolders are the classes. A picture is turned upright by its EXIF data, laid on white where it is transparent,
    and brought to its size by `fit` with bicubic, antialiased interpolation. Files that can't be read are counted in
    a warning and left out; one whose damage shows only when it is read whole is replaced by the next. What has been
    read stays in memory, up to 512 MiB (43,000 pictures of 64×64), so that later epochs decode nothing.

    PNG and TIFF of 16 bits are read at their depth. Floats, and integers of more bits, need a black and a white:
    "PATH?range=0..4095" says them for all deep pictures; else they are the least and the largest number of the train
    split. Arrays in `.npy` files are [height, width(, channels)] with 1 to 32 channels.

    Args:
        argument: PATH, or PATH?range=LOW..HIGH.
        split: "train", "val" or "test".
        fit: how pictures are brought to their size.
        channels: None takes those of arrays that have neither 1 nor 3, else 3.
        read: gives the picture of a file, as `read_picture` does.
        parts: how many pictures stand beside each other in a file.

    Raises:
        UserError: the folder is missing or holds no picture, one is smaller than it must be, or an argument
            doesn't fit.
    """
    root, value_range = parse(argument)
    if fit.size is None:
        raise UserError("Pictures in a folder have any size: say which is wanted, such as image_size=64.")
    splits, names, by_lot = _parted(root, scan(root), parts)
    if split != "all":
        check_split("folder", split)
    files = splits["train"] + splits["test"] if split == "all" else splits[split]
    if not files:
        raise UserError(
            f"The folder {str(root)!r} holds no readable picture for the split {split!r}: put {READABLE} files there."
        )
    sizes = tuple((file.head.height, file.head.width // parts) for file in files)
    _check_sizes(files, sizes, fit)
    channels = _channels(files, channels)
    value_range = value_range or measured(root, splits["train"] or files)
    labels = [names.index(file.folder) for file in files] if names else []
    read_one = functools.partial(read, fit=fit, channels=channels, value_range=value_range)
    read_by_number = _reader([file.path for file in files], read_one)
    where = f"the folder {root}" if split == "all" else f"the split {split!r} of the folder {root}"
    whole = or_the_next(read_by_number, len(files), "picture", where)
    example = _example(whole, (*fit.shape, channels), labels)
    table = np.array(labels)
    conditions = {"label": 2.0 * np.eye(len(names), dtype=np.float32)[table] - 1.0} if names else {}
    return Source(
        len(files),
        example,
        names,
        (lambda: table) if names else None,
        tuple(file.name for file in files),
        conditions=conditions,
        sizes=sizes,
        read=read_by_number,
        drawn=by_lot,
    )


def settle(argument: str, parts: int = 1) -> str:
    """Return the argument with the range of its deep pictures, if it has some and doesn't say it: measured once.

    Args:
        argument, parts: see `open_split`.
    """
    root, value_range = parse(argument)
    if value_range is not None:
        return argument
    splits, *_ = _parted(root, scan(root), parts)
    found = measured(root, splits["train"] or splits["test"])
    return argument if found is None else f"{argument}{_RANGE}{found[0]!r}..{found[1]!r}"


KIND = Kind(
    "your own pictures: jpg, png, bmp, webp, tiff, npy; of 8 or 16 bits or floats; subfolders are classes or splits",
    open_split,
    usage=":PATH",
    settle=settle,
)


def parse(argument: str) -> tuple[Path, tuple[float, float] | None]:
    """Return the folder and the range that "PATH?range=LOW..HIGH" says.

    Raises:
        UserError: there is no such folder, or the range is not two numbers.
    """
    path, value_range = place_of(argument)
    # Not the path's own methods: they raise over a name that is too long.
    if not os.path.isdir(path):
        beside = [str(p) for p in path.parent.glob("*") if os.path.isdir(p)] if os.path.isdir(path.parent) else []
        close = difflib.get_close_matches(str(path), beside, n=1, cutoff=0.8)
        advice = f"did you mean {close[0]}?" if close else "write folder:PATH with the path of your pictures."
        raise UserError(f"There is no folder {str(path)!r}: {advice}")
    return path, value_range


def place_of(argument: str) -> tuple[Path, tuple[float, float] | None]:
    """Return the path and the range that "PATH?range=LOW..HIGH" says, whatever lies there.

    A path that begins with "~" is below the home folder, unless there is one of that name: shells leave it as it is
    behind a colon.

    Raises:
        UserError: the range is not two numbers.
    """
    path, _, text = argument.partition(_RANGE)
    place = Path(path if os.path.exists(path) else os.path.expanduser(path))
    return place, parse_range(text) if text else None


def parse_range(text: str) -> tuple[float, float]:
    """Return black and white from a text such as "0..4095".

    Raises:
        UserError: it is not two numbers, the larger one last.
    """
    try:
        low, high = map(float, text.split(".."))
    except ValueError:
        low = high = 0.0
    if not low < high or not math.isfinite(high - low):
        raise UserError(f"The range {text!r} is not black and white: write two numbers, such as 0..4095.")
    return low, high


def said_range(source: str) -> tuple[float, float] | None:
    """Return the range that a source such as "folder:PATH?range=0..4095" says, wherever the folder is by now."""
    text = source.partition(_RANGE)[2]
    return parse_range(text) if text else None


@functools.lru_cache(maxsize=64)
def _parted(root: Path, found: Scan, parts: int) -> tuple[dict[str, list[PictureFile]], tuple[str, ...], bool]:
    """Return the files of each split, in a fixed order, the names of the classes, and whether lots were drawn."""
    files = [file for file in found.files if file.head.width >= parts]
    if narrow := [file.path.name for file in found.files if file.head.width < parts]:
        many = f"{len(narrow)} of {len(found.files)} pictures"
        warnings.warn(
            f"{root}: {many}, narrower than {parts} pixels, are left out, such as {narrow[0]}.", stacklevel=3
        )
    splits = splits_of(files)
    beside = len(files) - sum(map(len, splits.values()))
    if splits and beside:
        warnings.warn(f"{root}: {beside} pictures beside {', '.join(splits)} are left out.", stacklevel=3)
    by_lot = not splits or set(splits) == {"train"}
    if by_lot:
        splits = _held_out(splits.get("train", files))
    splits.setdefault("train", [])
    splits.setdefault("test", splits.get("val", []))
    splits.setdefault("val", splits["test"])
    # The names come from all splits, so that a class has the same number in each.
    folders = [file.folder for files in splits.values() for file in files]
    names = sorted({folder for folder in folders if folder is not None})
    return splits, () if None in folders or len(names) < 2 else tuple(names), by_lot


def _held_out(files: list[PictureFile]) -> dict[str, list[PictureFile]]:
    test = drawn(["/".join(file.parts) for file in files])
    chosen = ["/".join(file.parts) in test for file in files]
    return {
        "train": [file for file, held_out in zip(files, chosen, strict=True) if not held_out],
        "test": [file for file, held_out in zip(files, chosen, strict=True) if held_out],
    }


def _check_sizes(files: Sequence[PictureFile], sizes: Sequence[tuple[int, int]], fit: Fit) -> None:
    if fit.rule != "natural":
        return
    side = max(fit.wanted)
    for file, (height, width) in zip(files, sizes, strict=True):
        if min(height, width) < side:
            raise UserError(
                f"{file.path} is {height}×{width}, smaller than the crop of "
                f"{side}×{side}: remove it, choose a smaller image_size, or the mode resize_and_crop."
            )


def _channels(files: Sequence[PictureFile], wanted: int | None) -> int:
    """Return how many channels all files can be read with."""
    first = {file.head.channels: file.path for file in reversed(files)}
    own = [channels for channels in first if channels is not None]
    if wanted is None:
        wanted = own[0] if own else 3
    wanted = values.whole("channels", wanted)
    if not own:
        check_channels(wanted)
    for channels, path in first.items():
        if (channels is None and wanted not in (1, 3)) or channels not in (None, wanted):
            has = "1 or 3" if channels is None else channels
            raise UserError(
                f"{path} can be read with {has} channels, but {wanted} of 1 to {MOST_CHANNELS} are wanted of all: "
                "put pictures of other channels elsewhere, or ask for theirs."
            )
    return wanted


@functools.lru_cache(maxsize=64)
def _range_of(paths: tuple[Path, ...], states: tuple[tuple[int, int], ...]) -> tuple[float, float]:
    """Return the least and the largest number in these pictures; what can't be read is left out here too."""
    ranges = []
    for path in paths:
        with contextlib.suppress(PictureError):
            ranges.append(numbers(path))
    if not ranges:
        raise UserError(f"None of the pictures beside {paths[0]} can be read: look at the folder.")
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    return (low, high) if low < high else (low, low + 1.0)


def measured(root: Path, files: Sequence[PictureFile]) -> tuple[float, float] | None:
    """Return the range of the deep pictures whose black and white nobody knows; None if there is no such picture."""
    unknown = [file.path for file in files if not file.head.known_range]
    if not unknown:
        return None
    if len(unknown) < len(files):
        raise UserError(
            f"{root} mixes pictures of a known range with floats such as {unknown[0].name}: say black and white of "
            f"the floats, as folder:{root}{_RANGE}0..1."
        )
    states = tuple((state.st_size, state.st_mtime_ns) for state in map(os.stat, unknown))
    return _range_of(tuple(unknown), states)


def _reader(paths: Sequence[Path], read_one: Callable[[Path], np.ndarray]) -> Callable[[int], np.ndarray]:
    """Return a function from an example's number to its picture, which keeps small ones in memory."""
    kept: dict[int, np.ndarray] = {}
    damaged: dict[int, PictureError] = {}
    room = _KEPT

    def read(place: int) -> np.ndarray:
        nonlocal room
        if place in damaged:
            raise damaged[place]
        if place not in kept:
            try:
                picture = read_one(paths[place])
            except PictureError as error:
                damaged[place] = error
                raise
            if room < picture.nbytes:
                return to_float(picture)
            room -= picture.nbytes
            kept[place] = picture
        return to_float(kept[place])

    return read


def _example(
    whole: Callable[[np.ndarray], tuple[np.ndarray, np.int64]],
    shape: tuple[int | None, int | None, int],
    labels: Sequence[int],
) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return a function from an example's number to its picture (and label), for a TensorFlow graph."""
    import tensorflow as tf

    label_table = tf.constant(labels, tf.int32)

    def example(wanted: tf.Tensor) -> dict[str, tf.Tensor]:
        # Pillow decodes what TensorFlow's own operations can't (palettes, EXIF, damaged files), in parallel too.
        # Not stateful: else TensorFlow's deterministic mode would read one picture after the other.
        image, index = tf.numpy_function(whole, [wanted], (tf.float32, tf.int64), stateful=False)
        image = tf.ensure_shape(image, shape)
        return {"image": image, **({"label": label_table[tf.ensure_shape(index, ())]} if labels else {})}

    return example
