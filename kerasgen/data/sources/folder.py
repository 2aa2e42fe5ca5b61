"""A folder of the user's own pictures."""

import os
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.data.reading import SUFFIXES, PictureError, PictureFile, open_picture, picture_files, read_picture
from kerasgen.data.sources.source import Fit, Kind, Source, check_channels, check_split
from kerasgen.errors import UserError

_KEPT = 2**29  # bytes of small pictures that stay in memory: most of the time of reading is spent on decoding


def open_split(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
    """Return the pictures below the folder `argument`, of any sizes, gray or in color.

    Subfolders `train` and `test` are the splits where both exist; otherwise a tenth of the files, chosen by their
    names, is the test split. Where every picture lies in a subfolder, and there are two at least, the subfolders
    are the classes. A picture is turned upright by its EXIF data, laid on white where it is transparent, and brought
    to its size by `fit` with bicubic, antialiased interpolation. An unreadable file is named in a warning and left
    out; one whose damage shows only when it is read whole is replaced by the next. What has been read stays in
    memory, up to 512 MiB (43,000 pictures of 64×64), so that later epochs decode nothing.

    Args:
        argument: the folder's path.
        split: "train" or "test".
        fit: how a picture is brought to its size.
        channels: 1 for gray, 3 (the default) for RGB.

    Raises:
        UserError: the folder is missing or holds no picture, one is smaller than it must be, or an argument
            doesn't fit.
    """
    root = Path(argument)
    if not root.is_dir():
        raise UserError(f"There is no folder {argument!r}: write folder:PATH with the path of your pictures.")
    if fit.size is None:
        raise UserError("Pictures in a folder have any size: say which is wanted, such as image_size=64.")
    check_channels(channels)
    check_split("folder", split)
    by_split = _files(root)
    files = _readable(by_split[split], fit)
    if not files:
        raise UserError(
            f"The folder {argument!r} holds no readable picture for the split {split!r}: "
            f"put {', '.join(SUFFIXES)} files there."
        )
    # The names come from both splits, so that a class has the same number in each.
    names = _class_names(by_split["train"] + by_split["test"])
    labels = [names.index(file.folder) for file in files] if names else []
    read = _reader([file.path for file in files], labels, fit, channels or 3)
    return Source(len(files), read, names, (lambda: np.array(labels)) if names else None)


KIND = Kind("your own jpg, png, bmp and webp pictures; subfolders are classes", open_split, usage=":PATH")


def _files(root: Path) -> dict[str, list[PictureFile]]:
    """Return the files of each split, in a fixed order."""
    if all((root / name).is_dir() for name in ("train", "test")):
        return {split: picture_files(root / split) for split in ("train", "test")}
    files = picture_files(root)
    # By the name's checksum: adding pictures later moves few from one split to the other.
    by_checksum = sorted(files, key=lambda file: zlib.crc32(os.fsencode(file.path.relative_to(root).as_posix())))
    test = set(by_checksum[: max(1, len(files) // 10) if len(files) > 1 else 0])
    return {"train": [f for f in files if f not in test], "test": [f for f in files if f in test]}


def _class_names(files: list[PictureFile]) -> tuple[str, ...]:
    folders = {file.folder for file in files}
    return () if None in folders or len(folders) < 2 else tuple(sorted(folders))


def _readable(files: list[PictureFile], fit: Fit) -> list[PictureFile]:
    """Return the files that begin like pictures; only the headers are read."""
    good = []
    for file in files:
        try:
            with open_picture(file.path) as image:
                height, width = image.size[::-1]
        except PictureError as error:
            warnings.warn(f"{error} It is left out.", stacklevel=5)
            continue
        if fit.rule == "natural" and min(height, width) < max(fit.size):
            raise UserError(
                f"{file.path} is {height}×{width}, smaller than the crop of {fit.size[0]}×{fit.size[1]}: "
                "remove it, choose a smaller image_size, or the mode resize_and_crop."
            )
        good.append(file)
    return good


def _reader(paths: list[Path], labels: list[int], fit: Fit, channels: int) -> Callable[[Any], dict[str, Any]]:
    import tensorflow as tf

    label_table = tf.constant(labels, tf.int32)
    kept: dict[int, tuple[np.ndarray, np.int64]] = {}
    room = _KEPT

    def read(wanted: np.ndarray) -> tuple[np.ndarray, np.int64]:
        nonlocal room
        place = int(wanted)
        if place in kept:
            return kept[place]
        found = decode(place)
        if room >= found[0].nbytes:
            room -= found[0].nbytes
            kept[place] = found
        return found

    def decode(wanted: int) -> tuple[np.ndarray, np.int64]:
        for attempt in range(len(paths)):
            index = (wanted + attempt) % len(paths)
            try:
                return read_picture(paths[index], fit, channels), np.int64(index)
            except PictureError as error:
                warnings.warn(f"{error} The next picture takes its place.", stacklevel=2)
        raise UserError("No picture of the folder can be read any more: look at the folder.")

    def example(wanted: tf.Tensor) -> dict[str, tf.Tensor]:
        # Pillow decodes what TensorFlow's own operations can't (palettes, EXIF, damaged files), in parallel too.
        # Not stateful: else TensorFlow's deterministic mode would read one picture after the other.
        image, index = tf.numpy_function(read, [wanted], (tf.uint8, tf.int64), stateful=False)
        image = tf.ensure_shape(image, (*fit.shape, channels))
        label = {"label": label_table[tf.ensure_shape(index, ())]} if labels else {}
        return {"image": tf.cast(image, tf.float32) / 255.0, **label}

    return example
