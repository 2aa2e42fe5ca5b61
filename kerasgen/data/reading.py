"""One picture file of any kind: its head, and what it becomes as an array."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np

from kerasgen.data.bands import bands
from kerasgen.data.deep import DeepHead, deep_head, deep_pixels
from kerasgen.data.png import ORIENTATION
from kerasgen.data.sources.source import Fit
from kerasgen.drawing import LUMA
from kerasgen.errors import UserError, reason
from kerasgen.untrusted import open_regular

if TYPE_CHECKING:
    from PIL import Image

_Read = TypeVar("_Read")
# By EXIF orientation: Pillow's transposition (Image.Transpose) that turns the picture upright, and whether width
# and height change places.
_TURNS = {
    2: (0, False),
    3: (3, False),
    4: (1, False),
    5: (5, True),
    6: (4, True),
    7: (6, True),
    8: (2, True),
}


# What may decode a file, whatever its name says: a PostScript file called .png must not start Ghostscript.
_DECODERS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
MOST_PIXELS = 2**27  # 11,585 squared; four bytes of each, four times over, are 2 GiB


class PictureError(UserError):
    """A file is not a picture that can be read; the sentence names the file and the fault."""


@contextmanager
def open_picture(source: Path | BinaryIO, name: object = None) -> Iterator["Image.Image"]:
    """Open a picture that anybody may have made; nothing but its head is decoded yet.

    Args:
        source: a path, or a binary stream.
        name: what a sentence calls it; its path by default.

    Raises:
        PictureError: it isn't a regular file, none of the six decoders knows it, it has more than `MOST_PIXELS`
            pixels, or it is damaged. What fails in the body, while it is decoded, becomes one too.
    """
    from PIL import Image

    called = name or (source if isinstance(source, Path) else "The picture")
    try:
        opened = open_regular(source) if isinstance(source, Path) else nullcontext(source)
        with opened as file, Image.open(file, formats=_DECODERS) as image:
            _check_pixels(*image.size)
            yield image
    except UserError:
        raise
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{called} can't be read as a picture (it is not {', '.join(_DECODERS)}).") from error
    except Exception as error:  # Pillow's decoders raise a dozen types over damaged files
        raise PictureError(f"{called} can't be read as a picture ({reason(error)}).") from error


def _check_pixels(width: int, height: int) -> None:
    if min(width, height) < 1:
        raise ValueError(f"its {width}×{height} pixels are none")
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width}×{height} pixels are more than {MOST_PIXELS:,}")


@dataclass(frozen=True)
class PictureHead:
    """What is known of a picture before it is decoded.

    Attributes:
        height: pixels, as the picture is shown.
        width: the same.
        channels: of a picture that has its own number of them; None if it can be read as gray or as RGB.
        dtype: of its numbers.
        kind: "png", "tiff" or "npy" of a deep picture, whose numbers are of `dtype`; empty for 8 bits a channel.
        known_range: whether its black and white are known.
    """

    height: int
    width: int
    channels: int | None = None
    dtype: str = "uint8"
    kind: str = ""
    known_range: bool = True


def read_head(path: Path) -> PictureHead:
    """Return a picture's size and depth; none of its pixels is decoded.

    Raises:
        PictureError: it can't be read, is too large, or is an animation.
    """
    with _opened(path, path.name) as file:
        if deep := deep_head(file):
            height, width, channels = deep.shape
            _check_pixels(width, height)
            if _TURNS.get(deep.orientation, (None, False))[1]:
                height, width = width, height
            own: int | None = channels - deep.alpha
            own = None if own in (1, 3) else own
            return PictureHead(height, width, own, str(deep.dtype), deep.kind, deep.white is not None)
    with open_picture(path, path.name) as image:
        # A phone's JPEG may bring a second picture for brighter screens; pages of a TIFF were counted above.
        if image.format not in ("JPEG", "MPO", "TIFF") and getattr(image, "n_frames", 1) > 1:
            raise ValueError(f"it holds {image.n_frames} pictures, an animation or a stack")
        width, height = image.size
        # Pillow would decode a whole PNG to look for EXIF data behind its pixels; a TIFF's size is the turned one.
        asked = "exif" in image.info if image.format == "PNG" else image.format != "TIFF"
        orientation = image.getexif().get(ORIENTATION) if asked else 1
        if _TURNS.get(orientation, (None, False))[1]:
            height, width = width, height
    return PictureHead(height, width)


@contextmanager
def _opened(source: Path | BinaryIO, name: object = None) -> Iterator[BinaryIO]:
    """Open a file's bytes; what fails in the body becomes a `PictureError`."""
    name = name or (source if isinstance(source, Path) else "The picture")
    try:
        with open_regular(source) if isinstance(source, Path) else nullcontext(source) as file:
            yield file
    except UserError:
        raise
    except Exception as error:  # tifffile and NumPy raise a dozen types over damaged files
        raise PictureError(f"{name} can't be read as a picture ({reason(error)}).") from error


def read_picture(
    path: Path | BinaryIO, fit: Fit, channels: int, value_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Return one picture [height, width, channels]: uint8, or float32 in [0, 1] where it is deeper than 8 bits.

    Args:
        path: a file, or a binary stream.
        fit: how it is brought to its size.
        channels: as many as the picture has; gray becomes RGB and RGB gray. 4 of a picture of 8 bits is RGBA.
        value_range: what black and white are in a deep picture; None takes 0 and the largest 8- or 16-bit number.

    Raises:
        PictureError: it can't be read, its channels are others, or its range isn't known.
    """
    with _opened(path) as file:
        deep = deep_head(file)
        if deep is not None:
            return _read_deep(file, deep, fit, channels, value_range)
    return _read_shallow(path, fit, channels)


def read_bands(path: Path, channels: int, value_range: tuple[float, float] | None = None) -> Iterator[np.ndarray]:
    """Give what `read_picture` gives of a picture at its own size, a few rows at a time from the top down.

    No more of it is in memory at once, unless its file can only be decoded whole (`kerasgen.data.bands`).

    Args:
        path: a file.
        channels: as for `read_picture`.
        value_range: the same.

    Raises:
        PictureError: as there, with the first rows or later.
    """
    with _opened(path) as file:
        deep = deep_head(file)
        found = None if deep is not None and deep.orientation != 1 else bands(file, deep)
        if found is None:
            yield read_picture(path, Fit("natural"), channels, value_range)
        elif deep is None:
            _check_channels(path, channels)
            for rows in found:
                yield _shallow_rows(rows, channels)
        else:
            black_and_white = _black_and_white(deep, value_range)
            for rows in found:
                yield _deep_rows(rows, deep, channels, black_and_white)


def _shallow_rows(rows: np.ndarray, channels: int) -> np.ndarray:
    from PIL import Image

    image = _flat(Image.fromarray(rows[..., 0] if rows.shape[-1] == 1 else rows), channels)
    return np.asarray(image, np.uint8).reshape(*rows.shape[:2], channels)


def or_the_next(
    read: Callable[[int], _Read], count: int, called: str, where: str
) -> Callable[[np.ndarray], tuple[_Read, np.int64]]:
    """Return a function that reads a number below `count`, or the next that isn't damaged, and says which it was.

    Args:
        read: may raise `PictureError`, which becomes a warning, once for each number.
        count: how many there are.
        called: what a sentence calls what is read.
        where: what holds them, for the sentence where none can be read.

    Raises:
        UserError: by the function that is returned, where none can be read.
    """
    warned: set[int] = set()

    def whole(wanted: np.ndarray) -> tuple[_Read, np.int64]:
        faults: dict[int, PictureError] = {}
        for attempt in range(count):
            index = (int(wanted) + attempt) % count
            try:
                found = read(index)
            except PictureError as error:
                faults[index] = error
                continue
            for damaged in [place for place in faults if place not in warned]:
                warned.add(damaged)
                warnings.warn(f"{faults[damaged]} The next {called} takes its place.", stacklevel=2)
            return found, np.int64(index)
        first = str(faults[int(wanted) % count]).rstrip(".")
        raise UserError(f"No {called} of {where} can be read ({first}): replace or remove the damaged files.")

    return whole


def to_float(picture: np.ndarray) -> np.ndarray:
    """Return what `read_picture` gave as float32 in [0, 1]."""
    return picture.astype(np.float32) / np.float32(255) if picture.dtype == np.uint8 else picture


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """Return what `read_picture` gave as uint8."""
    return picture if picture.dtype == np.uint8 else np.round(picture * 255).astype(np.uint8)


def numbers(path: Path) -> tuple[float, float]:
    """Return the smallest and the largest number of a deep picture, of those that are finite.

    Raises:
        PictureError: it can't be read, isn't deep, or none of its numbers is finite.
    """
    with _opened(path) as file:
        head = deep_head(file)
        if head is None:
            raise ValueError("it is not a deep picture")
        pixels = deep_pixels(file, head)
        finite = pixels[np.isfinite(pixels)]
        if not finite.size:
            raise ValueError("none of its numbers is finite")
        return float(finite.min()), float(finite.max())


def _read_deep(
    file: BinaryIO,
    deep: DeepHead,
    fit: Fit,
    channels: int,
    value_range: tuple[float, float] | None,
) -> np.ndarray:
    _check_pixels(deep.shape[1], deep.shape[0])
    pixels = _deep_rows(deep_pixels(file, deep), deep, channels, _black_and_white(deep, value_range))
    return fitted(_upright(pixels, deep.orientation), fit)


def _black_and_white(deep: DeepHead, value_range: tuple[float, float] | None) -> tuple[float, float]:
    if value_range is None:
        if deep.white is None:
            raise ValueError(f"its {deep.dtype} have no known black and white: say which, as folder:PATH?range=0..1")
        return 0.0, deep.white
    return value_range


def _deep_rows(rows: np.ndarray, deep: DeepHead, channels: int, black_and_white: tuple[float, float]) -> np.ndarray:
    """Return [n, width, channels] in [0, 1] of rows as they are in the file."""
    low, high = black_and_white
    pixels = rows.astype(np.float64)
    if not np.isfinite(pixels).all():
        raise ValueError("some of its numbers are infinite or not a number")
    if deep.alpha and channels != deep.shape[-1]:
        share = np.clip(pixels[..., -1:] / (deep.white or 1.0), 0.0, 1.0)
        pixels = pixels[..., :-1] * (1.0 if deep.premultiplied else share) + high * (1.0 - share)
    pixels = _with_channels((pixels - low) / (high - low), channels)
    return np.clip(pixels, 0.0, 1.0).astype(np.float32)


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    own = pixels.shape[-1]
    if own == channels:
        return pixels
    if own == 1 and channels == 3:
        return pixels.repeat(3, axis=-1)
    if own == 3 and channels == 1:
        return pixels @ np.array(LUMA)[:, None]
    raise ValueError(f"it has {own} channels, not {channels}")


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn [height, width, channels] as EXIF's orientation says."""
    turn, sideways = _TURNS.get(orientation, (None, False))
    if turn is None:
        return pixels
    if orientation in (2, 4):
        return pixels[:, ::-1] if orientation == 2 else pixels[::-1]
    if not sideways:
        return pixels[::-1, ::-1]
    turned = pixels.swapaxes(0, 1)
    return {5: turned, 6: turned[:, ::-1], 7: turned[::-1, ::-1], 8: turned[::-1]}[orientation]


def fitted(pixels: np.ndarray, fit: Fit) -> np.ndarray:
    """Return [height, width, channels], uint8 or float32 in [0, 1], brought to its size."""
    from PIL import Image

    height, width = pixels.shape[:2]
    box, size = fit.place(width, height)
    _check_pixels(*size)
    if size == (width, height) and box == (0, 0, width, height):
        return pixels
    planes = [
        Image.fromarray(np.ascontiguousarray(pixels[..., c])).resize(size, Image.Resampling.BICUBIC, box)
        for c in range(pixels.shape[-1])
    ]
    found = np.stack([np.asarray(plane) for plane in planes], axis=-1)
    return found if found.dtype == np.uint8 else np.clip(found, 0.0, 1.0)


def _read_shallow(path: Path | BinaryIO, fit: Fit, channels: int) -> np.ndarray:
    from PIL import Image

    _check_channels(path, channels)
    with open_picture(path) as image:
        width, height = image.size
        if fit.rule not in ("natural", "fours"):
            # JPEG can be decoded at a half, a quarter or an eighth of its size. With half as much again as is
            # needed, the mean difference from a full decoding stays near 1 of 255 (twice that at 1.0).
            enough = max(fit.wanted) * 3 // 2
            image.draft(None, (enough, enough))
        image.load()
        turn, sideways = _TURNS.get(image.getexif().get(ORIENTATION), (None, False))
        # The small result is turned, not the large picture; until then, everything lies as in the file.
        box, size = fit.place(height, width) if sideways else fit.place(width, height)
        if sideways:
            box, size = (box[1], box[0], box[3], box[2]), size[::-1]
        _check_pixels(*size)  # a line of 1×100,000 pixels may become a picture 64 times as wide and as high
        # A draft's last row and column may be partly empty, so its scale is that of the decoder.
        scale = round(width / image.size[0])
        box = tuple(edge / scale for edge in box)
        picture = _flat(image, channels).resize(size, Image.Resampling.BICUBIC, box, reducing_gap=3.0)
    if turn is not None:
        picture = picture.transpose(turn)
    return np.asarray(picture, np.uint8).reshape(*picture.size[::-1], channels)


def _check_channels(path: Path | BinaryIO, channels: int) -> None:
    if channels not in (1, 3, 4):
        raise PictureError(f"{path} is gray or RGB, not of {channels} channels.")


def _flat(image: "Image.Image", channels: int) -> "Image.Image":
    """Return a Pillow image of any mode as gray or RGB of 8 bits, on white where it is transparent; or as RGBA."""
    from PIL import Image

    if channels == 4:
        return image.convert("RGBA")
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)
