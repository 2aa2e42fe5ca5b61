"""Pictures that Pillow would flatten: 16-bit PNG, TIFF of integers and floats, `.npy` arrays of 1 to 32 channels.

The functions take an open file that anybody may have made, and raise whatever its damage makes them raise.
"""

import itertools
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from kerasgen.data.png import CHANNELS, SIGNATURE, png_orientation
from kerasgen.files import atomic_write

if TYPE_CHECKING:
    import tifffile

MOST_CHANNELS = 32
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how its files begin
# Of TIFF: what every tifffile decodes, and what zlib decodes, which a hostile file may make endless.
PLAIN, DEFLATED = (1, 32773), (8, 32946)
_GRAY_OR_RGB = (0, 1, 2)  # what TIFF calls photometric; a palette's numbers, for one, don't say how bright a pixel is
_MOST_PAGES = 100  # that are looked at: each says where the next one is, and may say an earlier one


@dataclass(frozen=True)
class DeepHead:
    """What a file says of its pixels before they are read.

    Attributes:
        kind: "png", "tiff" or "npy".
        shape: (height, width, channels), alpha among them, as the pixels lie in the file.
        dtype: of the pixels.
        white: what the brightest pixel would be, black being 0; None where nobody knows.
        alpha: whether the last channel is one.
        premultiplied: whether the others were multiplied by it already.
        orientation: of EXIF; 1 is upright.
    """

    kind: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    white: float | None
    alpha: bool = False
    orientation: int = 1
    premultiplied: bool = False


def deep_head(file: BinaryIO) -> DeepHead | None:
    """Return what a deep picture's head says; None for a file that Pillow reads without a loss, or can't read."""
    begin = file.read(26)
    file.seek(0)
    if begin.startswith(SIGNATURE) and len(begin) == 26 and begin[24] == 16:
        width, height = struct.unpack(">II", begin[16:24])
        channels = CHANNELS[begin[25]]
        alpha, orientation = channels in (2, 4), png_orientation(file)
        file.seek(0)
        return DeepHead("png", (height, width, channels), np.dtype(np.uint16), 65535.0, alpha, orientation)
    if begin.startswith(b"\x93NUMPY"):
        return _npy_head(file)
    if begin[:4] in TIFF:
        return _tiff_head(file)
    return None


def deep_pixels(file: BinaryIO, head: DeepHead) -> np.ndarray:
    """Return the pixels [height, width, channels] as they are in the file."""
    file.seek(0)
    if head.kind == "npy":
        pixels = np.lib.format.read_array(file, allow_pickle=False)
    elif head.kind == "png":
        import tensorflow as tf

        pixels = tf.io.decode_png(file.read(), dtype=tf.uint16).numpy()
    else:
        pixels = _tiff_pixels(file)
    return pixels.reshape(head.shape)


def write_deep(
    path: Path, picture: np.ndarray, dtype: np.dtype, value_range: tuple[float, float] | None = None
) -> None:
    """Write a picture [height, width, channels] in [0, 1] as 16-bit PNG, as TIFF or as `.npy`, atomically.

    Args:
        path: its suffix, .png, .tif or .npy, says which.
        picture: floats.
        dtype: of the numbers in the file.
        value_range: what 0 and 1 become; None takes 0 and the largest 8- or 16-bit number, or 1 of other types.

    Raises:
        UserError: the path can't be written.
    """
    pixels = to_numbers(picture, dtype, value_range)
    with atomic_write(path) as temporary:
        if path.suffix == ".npy":
            np.save(temporary, pixels)
        elif path.suffix == ".png":
            import tensorflow as tf

            temporary.write_bytes(tf.io.encode_png(pixels).numpy())
        else:
            import tifffile

            gray = pixels.shape[-1] == 1
            layout = {
                "photometric": "rgb" if pixels.shape[-1] == 3 else "minisblack",
                "planarconfig": None if gray else 1,
            }
            tifffile.imwrite(temporary, pixels[..., 0] if gray else pixels, **layout)


def to_numbers(picture: np.ndarray, dtype: np.dtype, value_range: tuple[float, float] | None) -> np.ndarray:
    """Return a picture in [0, 1] in numbers of a type, whose black and white are 0 and the largest by default."""
    low, high = value_range or (0.0, _white(dtype) or 1.0)
    pixels = np.clip(picture.astype(np.float64), 0.0, 1.0) * (high - low) + low
    if dtype.kind in "ui":
        pixels = np.clip(np.round(pixels), np.iinfo(dtype).min, np.iinfo(dtype).max)
    return pixels.astype(dtype)


def npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return the shape, whether columns come first, and the type of numbers; the file then stands at the first."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _npy_head(file: BinaryIO) -> DeepHead:
    shape, _, dtype = npy_header(file)
    size = os.fstat(file.fileno()).st_size if hasattr(file, "fileno") else None
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] > 4:  # no picture is so low and has so many channels
        raise ValueError(f"its shape {shape} looks like channels first: save it as [height, width, channels]")
    if dtype.kind not in "uif" or len(shape) not in (2, 3) or not 1 <= (*shape, 1)[2] <= MOST_CHANNELS:
        raise ValueError(f"it holds {dtype} of the shape {shape}, not numbers [height, width(, 1 to 32 channels)]")
    if size is not None and size < file.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise ValueError("it is cut short")
    return DeepHead("npy", (shape[0], shape[1], (*shape, 1)[2]), dtype, _white(dtype))


def _white(dtype: np.dtype) -> float | None:
    return float(np.iinfo(dtype).max) if dtype.newbyteorder("=") in (np.uint8, np.uint16) else None


# -- TIFF ----------------------------------------------------------------------------------------------------


def _tiff_head(file: BinaryIO) -> DeepHead | None:
    import tifffile

    with tifffile.TiffFile(file, name="picture.tif") as tiff:
        page = tiff.pages.first
        if sum(not other.is_reduced for other in itertools.islice(tiff.pages, _MOST_PAGES)) > 1:
            raise ValueError("it holds several pictures")
        samples = page.samplesperpixel
        if page.bitspersample <= 8 and page.sampleformat in (1, 4) and samples <= 4:
            return None
        if page.dtype is None or page.dtype.kind not in "uif" or samples > MOST_CHANNELS:
            raise ValueError(f"{samples} samples of {page.bitspersample} bits are not read")
        if int(page.photometric) not in _GRAY_OR_RGB:
            what = getattr(page.photometric, "name", page.photometric)
            raise ValueError(f"it is {what} of {page.bitspersample} bits: save it in gray or RGB")
        bits = page.bitspersample
        white = float(2**bits - 1) if page.dtype.kind == "u" and bits <= 16 else None
        orientation = page.tags.valueof(274, 1)
        shape = (page.imagelength, page.imagewidth, samples)
        # A further sample may be alpha, associated (1) or not (2), or anything, such as infrared (0).
        further = [int(kind) for kind in page.extrasamples]
        alpha = samples in (2, 4) and further in ([1], [2])
        return DeepHead("tiff", shape, page.dtype, white, alpha, orientation, alpha and further == [1])


def _tiff_pixels(file: BinaryIO) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(file, name="picture.tif") as tiff:
        page = tiff.pages.first
        if int(page.compression) in (*PLAIN, *DEFLATED):
            if int(page.compression) in DEFLATED:
                _check_pieces(file, page)
            pieces = page.asarray(squeeze=False, maxworkers=1)[:, 0]  # [planes, height, width, samples beside others]
            pixels = pieces[0] if len(pieces) == 1 else np.moveaxis(pieces[..., 0], 0, -1)
        else:
            pixels = _by_libtiff(file, page)
        # White is 0 in some gray TIFFs.
        return black_is_zero(pixels, page)


def black_is_zero(pixels: np.ndarray, page: "tifffile.TiffPage") -> np.ndarray:
    """Return a page's numbers as most files have them: white is 0 in some gray ones."""
    return np.iinfo(pixels.dtype).max - pixels if page.photometric == 0 and pixels.dtype.kind == "u" else pixels


def _check_pieces(file: BinaryIO, page: "tifffile.TiffPage") -> None:
    """Raise `ValueError` if a compressed piece would become larger than the picture that it is a part of."""
    most = page.imagelength * page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    # A tile may reach over the picture's edge.
    most = max(most, int(np.prod(page.chunks)) * page.dtype.itemsize)
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        check_inflation(file.read(size), most)


def check_inflation(content: bytes, most: int) -> None:
    """Raise `ValueError` if what zlib compressed would become more than `most` bytes."""
    inflater = zlib.decompressobj()
    inflater.decompress(content, most + 1)
    if inflater.unconsumed_tail:
        raise ValueError("a part of it is larger than the whole")


def _by_libtiff(file: BinaryIO, page: "tifffile.TiffPage") -> np.ndarray:
    """Return gray pixels of a compression such as LZW, which Pillow's library knows."""
    from PIL import Image

    if page.samplesperpixel > 1:
        name = getattr(page.compression, "name", page.compression)
        raise ValueError(f"colors of {page.bitspersample} bits compressed by {name}: save it uncompressed")
    file.seek(0)
    with Image.open(file, formats=["TIFF"]) as image:
        return np.asarray(image).astype(page.dtype)
