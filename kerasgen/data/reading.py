"""Picture files of any kind: which a folder holds, what each becomes as an array, where its translation goes."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from kerasgen.data.sources.source import Fit
from kerasgen.errors import UserError, reason
from kerasgen.untrusted import open_regular

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_ORIENTATION = 0x0112
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
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width}×{height} pixels are more than {MOST_PIXELS:,}")


@dataclass(frozen=True)
class PictureFile:
    path: Path
    folder: str | None  # the class folder it lies in


def picture_files(base: Path) -> list[PictureFile]:
    found = []
    for path in sorted(base.rglob("*")):
        parts = path.relative_to(base).parts
        # The Mac leaves files such as ._cat.jpg that are not pictures, a killed writer half ones in a hidden folder.
        if path.suffix.lower() in SUFFIXES and not any(p.startswith(".") for p in parts) and path.is_file():
            found.append(PictureFile(path, parts[0] if len(parts) > 1 else None))
    return found


def read_picture(path: Path | BinaryIO, fit: Fit, channels: int) -> np.ndarray:
    """Return one picture as uint8 [height, width, channels].

    Raises:
        PictureError: it can't be read.
    """
    from PIL import Image

    with open_picture(path) as image:
        width, height = image.size
        if fit.rule not in ("natural", "fours"):
            # JPEG can be decoded at a half, a quarter or an eighth of its size. With half as much again as is
            # needed, the mean difference from a full decoding stays near 1 of 255 (twice that at 1.0).
            enough = max(fit.size) * 3 // 2
            image.draft(None, (enough, enough))
        image.load()
        turn, sideways = _TURNS.get(image.getexif().get(_ORIENTATION), (None, False))
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


def _flat(image: Any, channels: int) -> Any:
    """Return a Pillow image of any mode as gray or RGB of 8 bits, on white where it is transparent; or as RGBA."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image, np.uint16) >> 8).astype(np.uint8))
    if channels == 4:
        return image.convert("RGBA")
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


@dataclass(frozen=True)
class Translated:
    """What became of a folder.

    Attributes:
        written: the PNG files, in the order of their names.
        skipped: the inputs that can't be read, or are too large for the memory.
    """

    written: tuple[Path, ...]
    skipped: tuple[Path, ...]


def targets(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Each picture of a folder, and the PNG that it becomes in another.

    Raises:
        UserError: as `translate_folder` does of its folders.
    """
    if not source.is_dir():
        raise UserError(f"There is no folder {source}: give the folder of the pictures to translate.")
    if source.resolve() in (output.resolve(), *output.resolve().parents):
        raise UserError(
            f"The output folder {output} is the input folder {source} or lies in it, where the next run would take "
            "it for input: choose one outside."
        )
    paths = [file.path for file in picture_files(source)]
    if not paths:
        raise UserError(f"The folder {source} holds no jpg, jpeg, png, bmp or webp picture: put some there.")
    taken: dict[Path, Path] = {}
    for path in paths:
        target = output / path.relative_to(source).with_suffix(".png")
        if target in taken:
            raise UserError(f"{taken[target]} and {path} would both become {target}: rename one of them.")
        taken[target] = path
    return [(path, target) for target, path in taken.items()]


def with_bar(items: list[tuple[Path, Path]]) -> Iterator[tuple[Path, Path]]:
    """Go through the items, and show a bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("translating"), BarColumn(), MofNCompleteColumn(), TextColumn("pictures"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        yield from progress.track(items)
