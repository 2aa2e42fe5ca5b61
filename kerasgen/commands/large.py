"""A picture that is too large for the memory: read, translated and written a few rows at a time."""

import math
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from kerasgen.data.deep import to_numbers
from kerasgen.data.png import PngWriter
from kerasgen.data.reading import PictureError, read_bands, to_float
from kerasgen.data.scanning import PictureFile
from kerasgen.data.targets import written_as
from kerasgen.files import atomic_write

if TYPE_CHECKING:
    import keras

    from kerasgen.networks.strips import OnDisk

_Range = tuple[float, float] | None


def translate_large(
    generator: "keras.Model", picture: PictureFile, target: Path, ranges: tuple[_Range, _Range], memory: int
) -> None:
    """Translate a picture's file into another, atomically; temporary files lie beside that for a while.

    Args:
        generator: of this zoo.
        picture: its file.
        target: the file, of the kind that `written_as` says.
        ranges: black and white of a deep picture, and of what it becomes.
        memory: bytes that may be taken.

    Raises:
        PictureError: the picture can't be read.
        NoPlan: a layer can't be computed strip by strip, or the memory is too small.
        UserError: the disk is full, or the target can't be written.
    """
    from kerasgen.models.translation import large_picture

    kind, dtype = written_as(picture.head, generator.output_shape[-1])
    with atomic_write(target) as temporary, open(temporary, "w+b") as file:

        def sink(shape: tuple[int, int, int]) -> "_Png | _Raw":
            writer = _Raw if kind in ("tiff", "npy") else _Png
            return writer(file, temporary, shape, dtype, ranges[1] if picture.head.kind else None)

        with closing(_Unpacked(picture, generator.input_shape[-1], ranges[0], temporary.parent)) as rows:
            large_picture(generator, rows, memory, sink, temporary.parent, rows.disk).close()


class _Unpacked:
    """A picture by rows in [-1, 1], of which each pass over it reads all.

    So it is decoded once, into a temporary file, when the first rows are wanted.
    """

    def __init__(self, picture: PictureFile, channels: int, value_range: _Range, folder: Path):
        self._picture, self._range, self._folder = picture, value_range, folder
        self._dtype = np.dtype("float32" if picture.head.kind else "uint8")
        self._store: OnDisk | None = None
        self.shape = (picture.head.height, picture.head.width, channels)

    @property
    def disk(self) -> int:
        """How many bytes the temporary file has."""
        return math.prod(self.shape) * self._dtype.itemsize

    def read(self, low: int, high: int) -> np.ndarray:
        store = self._store or self._unpack()
        return to_float(store.read(low, high)) * 2.0 - 1.0

    def _unpack(self) -> "OnDisk":
        from kerasgen.models.memory import give_back
        from kerasgen.networks.strips import OnDisk

        self._store = OnDisk(self.shape, self._dtype, self._folder)
        low = 0
        for rows in read_bands(self._picture.path, self.shape[-1], self._range):
            if rows.shape[1:] != self.shape[1:]:
                break
            self._store.write(low, rows)
            low += len(rows)
        if low != self.shape[0]:
            raise PictureError(
                f"{self._picture.path} has another size than its head says: save it again, or give more memory."
            )
        give_back()
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


class _Png:
    """A PNG file that takes rows in [-1, 1]; gray of 8 bits becomes RGB, as in `save_png`."""

    def __init__(self, file: BinaryIO, path: Path, shape: tuple[int, int, int], dtype: np.dtype, value_range: _Range):
        self._dtype, self._range = dtype, value_range
        self._repeats = 3 if shape[-1] == 1 and dtype == np.uint8 else 1
        self._writer = PngWriter(file, (*shape[:2], shape[2] * self._repeats), dtype)

    def write(self, low: int, rows: np.ndarray) -> None:
        numbers = to_numbers(rows * 0.5 + 0.5, self._dtype, self._range)
        self._writer.write(numbers.repeat(self._repeats, axis=-1))

    def close(self) -> None:
        self._writer.close()


class _Raw:
    """A TIFF or `.npy` file that takes rows in [-1, 1]: a head, and then the numbers as they are."""

    def __init__(self, file: BinaryIO, path: Path, shape: tuple[int, int, int], dtype: np.dtype, value_range: _Range):
        self._file, self._dtype, self._range = file, dtype, value_range
        if path.suffix == ".npy":
            file.seek(np.lib.format.open_memmap(path, "w+", dtype, shape).offset)
        else:
            file.seek(_tiff_offset(path, shape, dtype))

    def write(self, low: int, rows: np.ndarray) -> None:
        self._file.write(to_numbers(rows * 0.5 + 0.5, self._dtype, self._range).tobytes())

    def close(self) -> None:
        self._file.flush()


def _tiff_offset(path: Path, shape: tuple[int, int, int], dtype: np.dtype) -> int:
    """Write a TIFF's head as `write_deep` does, and return where its numbers begin."""
    import tifffile

    gray = shape[-1] == 1
    layout = {"photometric": "rgb" if shape[-1] == 3 else "minisblack", "planarconfig": None if gray else 1}
    return tifffile.memmap(path, shape=shape[:2] if gray else shape, dtype=dtype, **layout).offset
