"""A PNG file written row by row, for pictures that aren't in memory as a whole."""

import struct
import zlib
from typing import BinaryIO

import numpy as np

_COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # gray, RGB, RGBA
_LEVEL = 6
_AT_ONCE = 2**20  # bytes of rows; choosing a filter takes twenty times as many


class PngWriter:
    """Write a picture's rows from the top down (ISO/IEC 15948).

    Each row is filtered in the way whose numbers are smallest in sum, as the standard recommends.

    Args:
        file: a binary file, open for writing.
        shape: (height, width, channels); 1, 3 or 4 channels.
        dtype: uint8 or uint16.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int], dtype: np.typing.DTypeLike):
        self.shape, self.dtype = shape, np.dtype(dtype)
        height, width, channels = shape
        self._file, self._deflate = file, zlib.compressobj(_LEVEL, strategy=zlib.Z_FILTERED)
        self._pixel = channels * self.dtype.itemsize
        self._above = np.zeros((1, width * self._pixel), np.uint8)
        self._rows = 0
        file.write(b"\x89PNG\r\n\x1a\n")
        head = struct.pack(">IIBBBBB", width, height, 8 * self.dtype.itemsize, _COLOR_TYPES[channels], 0, 0, 0)
        self._chunk(b"IHDR", head)

    def write(self, rows: np.ndarray) -> None:
        """Append rows, [n, width, channels]."""
        step = max(1, _AT_ONCE // (self.shape[1] * self._pixel))
        for low in range(0, len(rows), step):
            self._append(rows[low : low + step])

    def _append(self, rows: np.ndarray) -> None:
        big_endian = rows.astype(self.dtype.newbyteorder(">"), copy=False)
        lines = np.ascontiguousarray(big_endian).view(np.uint8).reshape(len(rows), -1)
        self._rows += len(rows)
        filtered = _filtered(lines, np.concatenate([self._above, lines[:-1]]), self._pixel)
        self._above = lines[-1:].copy()
        self._data(self._deflate.compress(filtered))

    def close(self) -> None:
        """Write what comes behind the last row; the file stays open."""
        if self._rows != self.shape[0]:
            raise ValueError(f"{self._rows} rows were written of {self.shape[0]}")
        self._data(self._deflate.flush())
        self._chunk(b"IEND", b"")

    def _data(self, content: bytes) -> None:
        if content:
            self._chunk(b"IDAT", content)

    def _chunk(self, kind: bytes, content: bytes) -> None:
        check = zlib.crc32(kind + content)
        self._file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check))


def _filtered(lines: np.ndarray, above: np.ndarray, pixel: int) -> bytes:
    """Return each line behind the number of its filter: 0 none, 1 left, 2 above, 4 Paeth's predictor."""
    left, corner = (np.pad(side[:, :-pixel], [(0, 0), (pixel, 0)]) for side in (lines, above))
    candidates = {0: lines, 1: lines - left, 2: lines - above, 4: lines - _paeth(left, above, corner)}
    cost = [np.abs(c.view(np.int8).astype(np.int16)).sum(1, dtype=np.int64) for c in candidates.values()]
    best = np.argmin(cost, axis=0)
    chosen = np.choose(best[:, None], list(candidates.values()))
    return np.concatenate([np.array(list(candidates), np.uint8)[best, None], chosen], axis=1).tobytes()


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    a, b, c = (side.astype(np.int16) for side in (left, above, corner))
    to_left, to_above, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)
