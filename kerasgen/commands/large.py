"""A picture that is too large for the memory: read whole as it is, translated strip by strip, written row by row."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from kerasgen.data.deep import to_numbers
from kerasgen.data.png import PngWriter
from kerasgen.data.reading import PictureHead, to_float
from kerasgen.files import atomic_write

if TYPE_CHECKING:
    import keras

_Range = tuple[float, float] | None


def translate_large(
    generator: "keras.Model", picture: np.ndarray, target: Path, head: PictureHead, value_range: _Range, memory: int
) -> None:
    """Translate a picture into a file, atomically; temporary files lie beside it for a while.

    Args:
        generator: of this zoo.
        picture: as `read_picture` gave it, [height, width, channels].
        target: the file: PNG of 8 bits, or as deep as the picture was and of its kind.
        head: of the picture.
        value_range: black and white of a deep file.
        memory: bytes that may be taken, the picture's own included.

    Raises:
        NoPlan: a layer can't be computed strip by strip, or the memory is too small.
        UserError: the disk is full, or the target can't be written.
    """
    from kerasgen.models.translation import large_picture

    flat = not head.kind and generator.output_shape[-1] not in (1, 3)
    kind, dtype = ("npy", np.dtype(np.float32)) if flat else (head.kind, np.dtype(head.dtype))
    target = target.with_suffix(".npy") if flat else target
    with atomic_write(target) as temporary, open(temporary, "w+b") as file:

        def sink(shape: tuple[int, int, int]) -> "_Png | _Raw":
            writer = _Raw if kind in ("tiff", "npy") else _Png
            return writer(file, temporary, shape, dtype, value_range if head.kind else None)

        large_picture(generator, _Pixels(picture), memory - picture.nbytes, sink, temporary.parent).close()


class _Pixels:
    """A picture as it was read, by rows in [-1, 1]."""

    def __init__(self, picture: np.ndarray):
        self.shape = picture.shape
        self._picture = picture

    def read(self, low: int, high: int) -> np.ndarray:
        return to_float(self._picture[low:high]) * 2.0 - 1.0


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
