"""A PNG file read and written row by row, for pictures that aren't in memory as a whole."""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 4: 2, 2: 3, 6: 4}  # by color type: gray, gray and alpha, RGB, RGBA
ORIENTATION = 0x0112  # the number of that entry in EXIF data, of any kind of file
_COLOR_TYPES = {channels: number for number, channels in CHANNELS.items()}
_LEVEL = 6
_AT_ONCE = 2**20  # bytes of rows; choosing a filter takes twenty times as many
_MOST_EXIF = 2**20  # bytes; JPEG has room for 65,533
_MOST_ROWS = 256  # that are read at once: more take more memory, fewer more time


class PngWriter:
    """Write a picture's rows from the top down (ISO/IEC 15948).

    Each row is filtered in the way whose numbers are smallest in sum, as the standard recommends.

    Args:
        file: a binary file, open for writing.
        shape: (height, width, channels); 1 to 4 channels.
        dtype: uint8 or uint16.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int], dtype: np.typing.DTypeLike):
        self.shape, self.dtype = shape, np.dtype(dtype)
        height, width, channels = shape
        self._file, self._deflate = file, zlib.compressobj(_LEVEL, strategy=zlib.Z_FILTERED)
        self._pixel = channels * self.dtype.itemsize
        self._above = np.zeros((1, width * self._pixel), np.uint8)
        self._rows = 0
        file.write(SIGNATURE)
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


def png_rows(file: BinaryIO) -> Iterator[np.ndarray] | None:
    """Give a picture's rows from the top down, [n, width, channels] of uint8 or uint16.

    Args:
        file: a binary file that begins with a PNG's signature and header.

    Returns:
        None for what isn't laid out row by row with 8 or 16 bits a channel (palettes, fewer bits, Adam7), or has
        something more to be done with it (a transparent color, EXIF data).

    Raises:
        ValueError: it is damaged; `zlib.error` likewise.
    """
    file.seek(16)
    width, height, bits, color, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    channels = CHANNELS.get(color)
    chunks = list(_chunks(file))
    if bits not in (8, 16) or channels is None or interlaced or {b"tRNS", b"eXIf"} & {kind for kind, *_ in chunks}:
        return None
    data = [(at, length) for kind, at, length in chunks if kind == b"IDAT"]
    return _rows(_inflated(file, data, height, 1 + width * channels * bits // 8), width, channels, bits // 8)


def png_orientation(file: BinaryIO) -> int:
    """Return the orientation that EXIF data before the pixels say; 1 is upright.

    Data behind them would take a look at all of the file.
    """
    from PIL import Image

    exif = Image.Exif()
    for kind, at, length in _chunks(file):
        if kind == b"IDAT":
            break
        if kind == b"eXIf":
            file.seek(at)
            exif.load(b"Exif\0\0" + file.read(min(length, _MOST_EXIF)))
    orientation = exif.get(ORIENTATION)
    return orientation if isinstance(orientation, int) else 1


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, where its content begins, and its length."""
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            raise ValueError("it is cut short")
        length, kind = struct.unpack(">I4s", head)
        yield kind, at + 8, length
        at += 12 + length


def _inflated(file: BinaryIO, chunks: list[tuple[int, int]], height: int, line: int) -> Iterator[np.ndarray]:
    """Give the lines of a picture, [n, line], each behind the number of its filter."""
    inflater, rows = zlib.decompressobj(), min(max(1, 8 * _AT_ONCE // line), _MOST_ROWS)
    lines = bytearray()
    for piece in _pieces(file, chunks):
        while piece and height:
            lines += inflater.decompress(piece, min(rows, height) * line - len(lines))
            piece = inflater.unconsumed_tail
            if len(lines) == min(rows, height) * line:
                yield np.frombuffer(bytes(lines), np.uint8).reshape(-1, line)
                height -= len(lines) // line
                lines.clear()
    if height:
        raise ValueError("it is cut short")


def _pieces(file: BinaryIO, chunks: list[tuple[int, int]]) -> Iterator[bytes]:
    """Give what chunks hold, in pieces of a bounded length, and check it."""
    for at, length in chunks:
        file.seek(at)
        check, left = zlib.crc32(b"IDAT"), length
        while left:
            piece = file.read(min(left, _AT_ONCE))
            if not piece:
                raise ValueError("it is cut short")
            check, left = zlib.crc32(piece, check), left - len(piece)
            yield piece
        if file.read(4) != struct.pack(">I", check):
            raise ValueError("a checksum is wrong")


def _rows(parts: Iterator[np.ndarray], width: int, channels: int, size: int) -> Iterator[np.ndarray]:
    above = np.zeros((width, channels * size), np.uint8)
    for lines in parts:
        rows = _unfiltered(lines[:, 0], lines[:, 1:].reshape(len(lines), width, -1), above)
        above = rows[-1]
        yield rows.reshape(len(rows), -1).view(f">u{size}").astype(f"u{size}").reshape(len(rows), width, channels)


def _unfiltered(filters: np.ndarray, rows: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Undo the filters of rows [n, width, bytes of a pixel], given the row above them.

    A pixel follows from those on its left, above and between. So all rows are gone through at once, each a pixel
    behind the one above: `skewed[1 + x + y, y]` is the pixel x of row y, of which the first is the one above.
    """
    if filters.max() > 4:
        raise ValueError(f"it has a filter {filters.max()}, which PNG doesn't know")
    count, width, pixel = rows.shape
    skewed = np.zeros((1 + width + count, 1 + count, pixel), np.uint8)
    skewed[1 : 1 + width, 0] = above
    along, down, _ = skewed.strides
    straight = np.lib.stride_tricks.as_strided(skewed[2:, 1:], rows.shape, (along + down, along, 1))
    straight[...] = rows
    kinds = filters[:, None]
    between, last = skewed[0], skewed[1]
    for now in skewed[2:]:
        left, up, corner = last[1:], last[:-1], between[:-1]
        half = (left & up) + ((left ^ up) >> 1)  # of the sum, which may be 256 and more
        now[1:] += np.choose(kinds, (np.uint8(0), left, up, half, _paeth(left, up, corner)))
        between, last = last, now
    return straight.copy()


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
