"""A folder of pictures through a trained generator."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.data.reading import PictureError, Translated, read_picture, targets, with_bar
from kerasgen.data.sources.source import Fit
from kerasgen.drawing import save_png, to_uint8
from kerasgen.errors import UserError

if TYPE_CHECKING:
    import keras

_DIRECTIONS = ("a2b", "b2a")
_PROBE = 256  # pixels of a size that every generator of this zoo can divide


def translate_folder(
    model: "keras.Model", input_folder: str | os.PathLike, output_folder: str | os.PathLike, direction: str = "a2b"
) -> Translated:
    """Translate every jpg, png, bmp and webp picture below a folder, each at its own size.

    A picture is turned upright by its EXIF data, laid on white where it is transparent, and read in gray or in RGB
    as the generator wants; 16-bit gray is scaled to 8 bits. A generator of four channels, which fills holes, takes
    the transparent pixels for the hole. `cats/tom.jpg` becomes `cats/tom.png` in the output
    folder. A file that can't be read, or is too large for the memory, is named in a warning and skipped. A bar shows
    the progress.

    Args:
        model: a `CycleGAN`, a `PairedTranslator`, or a generator alone: [n, height, width, 1, 3 or 4] in [-1, 1] to
            gray or RGB of that size, or of a whole multiple.
        input_folder: the pictures.
        output_folder: made if it is missing; pictures of the same names are replaced.
        direction: "a2b" or "b2a"; a generator alone has one direction only, "a2b".

    Raises:
        UserError: the model can't translate in that direction, the input folder is missing, holds no readable
            picture or holds the output folder, two pictures would become one file, or the output can't be written.
    """
    generator = _generator(model, direction)
    pairs = targets(Path(input_folder), Path(output_folder))
    memory = _Memory(_bytes_per_pixel(generator))
    written, skipped = [], []
    for path, target in with_bar(pairs):
        picture = _translated(generator, path, memory)
        if picture is None:
            skipped.append(path)
        else:
            save_png(target, picture)
            written.append(target)
    if not written:
        raise UserError(
            f"None of the {len(skipped)} pictures in {input_folder} could be translated: see the warnings."
        )
    return Translated(tuple(written), tuple(skipped))


def _generator(model: "keras.Model", direction: str) -> "keras.Model":
    from kerasgen.models import GenerativeModel

    if direction not in _DIRECTIONS:
        raise UserError(f"direction={direction!r} is unknown: choose 'a2b' or 'b2a'.")
    ours = isinstance(model, GenerativeModel)
    networks = model.translators() if ours else {"a2b": model}
    if not networks:
        raise UserError(
            f"The model is a {type(model).__name__}, which can't translate {direction}: "
            "give a CycleGAN or a PairedTranslator, or the .keras file of a generator."
        )
    if direction not in networks:
        what = f"a {type(model).__name__}" if ours else "a single generator"
        raise UserError(f"The model is {what}, which has one direction only: leave b2a out.")
    generator = networks[direction]
    _check(generator)
    return generator


def _check(generator: "keras.Model") -> None:
    """Raise `UserError` unless images of any size become images of that size, or of a whole multiple of it."""
    takes = getattr(generator, "input_shape", None)
    if not isinstance(takes, tuple) or len(takes) != 4 or takes[-1] not in (1, 3, 4) or takes[1:3] != (None, None):
        raise UserError(
            f"The model {generator.name!r} takes inputs of the shape {takes}, but a generator for pictures takes "
            "(None, None, None, 1, 3 or 4): give one made for any size, in gray, RGB or RGBA."
        )
    gives = tuple(generator.compute_output_shape((1, _PROBE, _PROBE, takes[-1])))
    enlarges = gives[1] == gives[2] and gives[1] is not None and gives[1] >= _PROBE and gives[1] % _PROBE == 0
    if not enlarges or gives[-1] not in (1, 3):
        raise UserError(
            f"The model {generator.name!r} makes {gives[1:]} of a picture of {_PROBE}×{_PROBE}, but a generator "
            "keeps or multiplies the size and makes gray or RGB: give a generator, not a discriminator."
        )


@dataclass
class _Memory:
    """What translating takes, and the most pixels that had it: TensorFlow may keep theirs for the next picture."""

    bytes_per_pixel: float
    pixels: int = 0

    def ask(self, pixels: int) -> None:
        """Raise `MemoryError` if so many are too many: some kernels end the process when they can't have theirs."""
        if pixels > self.pixels:
            np.empty(int(self.bytes_per_pixel * pixels), np.uint8)


def _bytes_per_pixel(generator: "keras.Model") -> float:
    """Return the bytes that translating takes for each pixel; 0 for a model that isn't functional and doesn't tell.

    The networks of this zoo were measured to take 3 to 6.5 times what their largest layer gives, 4 to 11 with
    TensorFlow's own kernels, which report that they lack memory.
    """
    import keras

    if not getattr(generator, "inputs", None):
        return 0.0
    every_layer = keras.Model(generator.inputs, keras.tree.flatten([layer.output for layer in generator.layers]))
    shapes = every_layer.compute_output_shape((1, _PROBE, _PROBE, generator.input_shape[-1]))
    return 7 * max(4.0 * np.prod(shape) for shape in shapes if None not in shape) / _PROBE**2


def _translated(generator: "keras.Model", path: Path, memory: _Memory) -> np.ndarray | None:
    """uint8 [height, width, 3], or None with a warning."""
    import tensorflow as tf

    from kerasgen.models.translation import translate_images

    try:
        picture = read_picture(path, Fit("natural"), generator.input_shape[-1])
    except PictureError as error:
        warnings.warn(f"{error} It is skipped.", stacklevel=3)
        return None
    height, width = picture.shape[:2]
    try:
        memory.ask(height * width)
        translated = translate_images(generator, picture.astype("float32") / 127.5 - 1.0)
    except (tf.errors.ResourceExhaustedError, MemoryError):
        message = f"{path} is skipped, because its {width}×{height} pixels need more memory than there is: shrink it."
        warnings.warn(message, stacklevel=3)
        return None
    memory.pixels = max(memory.pixels, height * width)
    return to_uint8(translated[None] * 0.5 + 0.5)[0]
