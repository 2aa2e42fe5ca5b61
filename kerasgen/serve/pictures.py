"""Picture files on their way to TensorFlow, which knows neither their orientation nor their transparency."""

import io
import struct

import numpy as np

from kerasgen.data.reading import open_picture, read_picture, to_bytes
from kerasgen.data.sources.source import Fit

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_ORIENTATION = 0x0112


def picture_size(file: bytes) -> tuple[int, int] | None:
    """Return width and height that a PNG or JPEG file says; None if it is neither."""
    if file.startswith(_PNG) and len(file) >= 24:
        return struct.unpack(">II", file[16:24])
    if not file.startswith(_JPEG):
        return None
    at = 2
    while at + 9 <= len(file) and file[at] == 0xFF:
        kind, length = file[at + 1], int.from_bytes(file[at + 2 : at + 4], "big")
        # Start of frame: C0 to CF but for tables (C4, C8, CC).
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", file[at + 5 : at + 9])
            return width, height
        at += 1 if kind == 0xFF else 2 + length
    return None


def upright(file: bytes, channels: int) -> bytes:
    """Return a file that TensorFlow decodes to what `kerasgen translate` reads; itself where that is the same.

    A picture is turned by its EXIF data, laid on white where it is transparent, and brought to gray or RGB.

    Args:
        file: a PNG or JPEG file.
        channels: that the network takes: 1, 3, or 4, which keeps the transparency.

    Raises:
        PictureError: it can't be read as a picture.
    """
    with open_picture(io.BytesIO(file)) as image:
        # Pillow decodes a whole PNG to see whether such a chunk comes after the pixels.
        said = image.format != "PNG" or b"eXIf" in file or b"adobe.xmp" in file
        turned = said and image.getexif().get(_ORIENTATION, 1) != 1
        # TensorFlow's decoder of four channels takes no JPEG; our own signatures do, but older ones don't.
        taken = file.startswith((_PNG,) if channels == 4 else (_PNG, _JPEG))
        deep = file.startswith(_PNG) and file[24] > 8  # bits, of which TensorFlow takes the upper ones
        plain = {1: ("L",), 3: ("L", "RGB"), 4: ("L", "RGB", "RGBA")}[channels]
        if taken and not turned and not deep and image.mode in plain and "transparency" not in image.info:
            return file
    return as_png(read_picture(io.BytesIO(file), Fit("natural"), channels))


def decoded(file: bytes) -> np.ndarray:
    """Return a file's pixels as they lie in it, uint8 [height, width, channels].

    Raises:
        PictureError: it can't be read as a picture.
    """
    with open_picture(io.BytesIO(file)) as picture:
        pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def as_png(picture: np.ndarray) -> bytes:
    """Return what `read_picture` gave as a PNG file of 8 bits."""
    from PIL import Image

    picture = to_bytes(picture)
    stream = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
