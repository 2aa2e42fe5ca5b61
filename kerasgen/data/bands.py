"""A picture's numbers from the top down, a few rows at a time, where its file allows that.

The functions take an open file that anybody may have made, and raise whatever its damage makes them raise.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from kerasgen.data.deep import DEFLATED, PLAIN, TIFF, DeepHead, black_is_zero, check_inflation, npy_header
from kerasgen.data.png import SIGNATURE, png_rows

if TYPE_CHECKING:
    import tifffile

_AT_ONCE = 2**22  # bytes


def bands(file: BinaryIO, deep: DeepHead | None) -> Iterator[np.ndarray] | None:
    """Give rows as they are in the file, [n, width, channels], from the top down.

    Args:
        file: an open file.
        deep: what `deep_head` says of it; None is a picture of 8 bits.

    Returns:
        None where only the whole can be decoded: JPEG, WebP, GIF and BMP, PNG with a palette, fewer than 8 bits or
        interlaced, TIFF compressed by more than deflate or in planes, and what lies on its side.
    """
    file.seek(0)
    begin = file.read(26)
    if begin.startswith(SIGNATURE) and len(begin) == 26:
        return png_rows(file)
    if deep is not None and deep.kind == "npy":
        return _npy_bands(file, deep)
    if begin[:4] in TIFF:
        return _tiff_bands(file, deep)
    return None


def _npy_bands(file: BinaryIO, deep: DeepHead) -> Iterator[np.ndarray] | None:
    file.seek(0)
    _, columns_first, _ = npy_header(file)
    return None if columns_first else _plain(file, file.tell(), deep.shape, deep.dtype)


def _plain(file: BinaryIO, offset: int, shape: tuple[int, int, int], dtype: np.dtype) -> Iterator[np.ndarray]:
    """Give the rows of numbers that lie in a file one after the other."""
    height, line = shape[0], math.prod(shape[1:]) * dtype.itemsize
    rows = max(1, _AT_ONCE // line)
    file.seek(offset)
    for low in range(0, height, rows):
        count = min(rows, height - low)
        content = file.read(count * line)
        if len(content) < count * line:
            raise ValueError("it is cut short")
        yield np.frombuffer(content, dtype).reshape(count, *shape[1:])


def _tiff_bands(file: BinaryIO, deep: DeepHead | None) -> Iterator[np.ndarray] | None:
    import tifffile

    file.seek(0)
    page = tifffile.TiffFile(file, name="picture.tif").pages.first  # the file is its opener's to close
    samples = page.samplesperpixel
    as_it_is = deep is not None or (
        page.dtype == np.uint8 and page.bitspersample == 8 and samples in (1, 3) and page.photometric in (1, 2)
    )
    readable = int(page.compression) in (*PLAIN, *DEFLATED) and (page.planarconfig == 1 or samples == 1)
    if not as_it_is or not readable or page.tags.valueof(274, 1) != 1 or page.imagedepth != 1:
        return None
    return _upright_tiff(file, page)


def _upright_tiff(file: BinaryIO, page: "tifffile.TiffPage") -> Iterator[np.ndarray]:
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if page.is_memmappable:
        found = _plain(file, page.dataoffsets[0], shape, page.dtype.newbyteorder(page.parent.byteorder))
    else:
        found = _pieces(file, page, shape)
    for rows in found:
        yield black_is_zero(rows, page)


def _pieces(file: BinaryIO, page: "tifffile.TiffPage", shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Give the rows of strips, or of tiles side by side."""
    tall, wide = page.chunks[:2]
    across = -(-shape[1] // wide)
    most = math.prod(page.chunks) * page.dtype.itemsize
    for row, low in enumerate(range(0, shape[0], tall)):
        band = np.zeros((min(tall, shape[0] - low), *shape[1:]), page.dtype)
        for number in range(row * across, (row + 1) * across):
            at, size = page.dataoffsets[number], page.databytecounts[number]
            if not size:
                continue  # left out, as it is empty
            file.seek(at)
            content = file.read(size)
            if int(page.compression) in DEFLATED:
                check_inflation(content, most)
            piece = page.decode(content, number)[0][0]  # [rows, columns, channels]
            left = number % across * wide
            place = band[:, left : left + wide]
            place[...] = piece[: place.shape[0], : place.shape[1]]
        yield band
