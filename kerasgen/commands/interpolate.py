"""From one picture to another through a trained model's latent space."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasgen import values
from kerasgen.data.reading import read_picture, to_float
from kerasgen.data.sources.source import Fit
from kerasgen.drawing import grid, save_png, to_uint8
from kerasgen.errors import UserError

if TYPE_CHECKING:
    from kerasgen.models import FromNoise


def interpolate_pictures(
    model: "FromNoise",
    start: str | os.PathLike,
    end: str | os.PathLike,
    folder: str | os.PathLike,
    steps: int = 8,
    label: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> np.ndarray:
    """Write the way from one picture to another: NNNN.png of each, and way.png with all in a row.

    Args:
        model: a trained one.
        start, end: picture files of any size; their middle is cut to the model's.
        folder: where the pictures go.
        steps: pictures, the two ends (reconstructed) included.
        label: the class of both, for a conditional model.
        value_range: black and white of deep pictures.

    Returns:
        float32 [steps, height, width, channels] in [0, 1].

    Raises:
        UserError: a file can't be read, there are fewer than 2 steps, the label doesn't fit, or the folder can't be
            written.
    """
    values.whole("--steps", steps, least=2)
    values.room("--steps", steps, 12 * steps * math.prod(model.image_shape))
    if model.conditional and label is None:
        raise UserError("The model is conditional on classes: give the --label of both pictures.")
    height, width, channels = model.image_shape
    fit = Fit("cut", (height, width))
    ends = [to_float(read_picture(Path(path), fit, channels, value_range)) for path in (start, end)]
    way = model.interpolate(ends[0], ends[1], steps=steps, labels=label)
    pictures = to_uint8(way)
    for i, picture in enumerate(pictures):
        save_png(Path(folder) / f"{i:04d}.png", picture)
    save_png(Path(folder) / "way.png", grid(pictures, steps))
    return way
