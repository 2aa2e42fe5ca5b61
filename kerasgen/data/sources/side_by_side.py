"""Pictures that hold a pair, A on the left and B on the right, as pytorch-CycleGAN-and-pix2pix keeps them."""

import functools
from pathlib import Path

import numpy as np

from kerasgen.data.reading import PictureError, fitted, read_picture
from kerasgen.data.sources import folder
from kerasgen.data.sources.source import Fit, Kind, Source
from kerasgen.errors import UserError

_AS_IS = Fit("natural", (1, 1))


def _open_half(half: str, argument: str, split: str, fit: Fit, channels: int | None) -> Source:
    """Open one half of each picture of a folder; see `folder.open_split`."""

    def read(path: Path, fit: Fit, channels: int, value_range: tuple[float, float] | None) -> np.ndarray:
        whole = read_picture(path, _AS_IS, channels, value_range)
        width = whole.shape[1] // 2
        if not width:
            raise PictureError(f"{path} is one pixel wide, which makes no two halves.")
        # The column in the middle of an odd width belongs to neither.
        return fitted(whole[:, :width] if half == "left" else whole[:, whole.shape[1] - width :], fit)

    return folder.open_split(argument, split, fit, channels, read=read, parts=2)


def _refuse(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
    raise UserError(
        f"'side_by_side:{argument}' holds pairs, but single pictures are wanted: write left:{argument} or "
        f"right:{argument}."
    )


_settle = functools.partial(folder.settle, parts=2)
LEFT = Kind("the left halves of your pictures", functools.partial(_open_half, "left"), usage=":PATH", settle=_settle)
RIGHT = Kind(
    "the right halves of your pictures", functools.partial(_open_half, "right"), usage=":PATH", settle=_settle
)
PAIRS = Kind("your own pairs: pictures whose left half is A and whose right half is B", _refuse, usage=":PATH")
