"""A folder of pictures through a trained generator."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.commands.large import translate_large
from kerasgen.data.deep import MOST_CHANNELS, write_deep
from kerasgen.data.reading import PictureError, PictureHead, read_picture, to_float
from kerasgen.data.scanning import PictureFile
from kerasgen.data.sources.folder import place_of, said_range
from kerasgen.data.sources.source import Fit
from kerasgen.data.targets import Translated, targets, with_bar, written_as
from kerasgen.drawing import save_png, to_uint8
from kerasgen.errors import UserError, a_kind
from kerasgen.runs import data_of
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    import keras

_DIRECTIONS = ("a2b", "b2a")
_PROBE = 256  # pixels of a size that every generator of this zoo can divide


def translate_folder(
    model: "keras.Model",
    input_folder: str | os.PathLike,
    output_folder: str | os.PathLike,
    direction: str = "a2b",
    value_range: tuple[float, float] | None = None,
    output_range: tuple[float, float] | None = None,
    memory: int | None = None,
) -> Translated:
    """Translate every picture below a folder, or one picture, each at its own size and depth.

    A picture is turned upright by its EXIF data, laid on white where it is transparent, and read in gray or in RGB
    as the generator wants. A generator of four channels, which fills holes, takes the transparent pixels for the
    hole. `cats/tom.jpg` becomes `cats/tom.png` in the output folder; 16-bit PNG, TIFF of more than 8 bits and `.npy`
    become files of their own kind, with numbers of their own type. A file that can't be read, or is too large for
    the memory, is named in a warning and skipped. A bar shows the progress.

    Args:
        model: a `CycleGAN`, a `PairedTranslator`, or a generator alone: [n, height, width, channels] in [-1, 1] to
            pictures of that size, or of a whole multiple. For one that takes a single size, pictures are stretched
            to it, and what it makes of them back, which a warning says.
        input_folder: the pictures, or the file of one; PATH?range=LOW..HIGH says black and white of deep ones.
        output_folder: made if it is missing; pictures of the same names are replaced.
        direction: "a2b" or "b2a"; a generator alone has one direction only, "a2b".
        value_range: black and white of deep pictures, where the folder doesn't say them.
        output_range: black and white of what deep pictures become; None takes those of the input.
        memory: bytes that may be taken, besides what TensorFlow itself takes; None is half of what is free. A picture
            for which they don't suffice is translated strip by strip: the same numbers, with temporary files in the
            output folder if need be.

    Raises:
        UserError: the model can't translate in that direction, the input folder is missing, holds no readable
            picture or holds the output folder, two pictures would become one file, or the output can't be written.
    """
    generator = generator_of(model, direction)
    root, said = place_of(str(input_folder))
    low_and_high = said or value_range
    found = targets(root, Path(output_folder), generator.output_shape[-1])
    ranges = low_and_high, output_range or low_and_high
    written, skipped = [], list(found.damaged)
    for file, target in with_bar(found.pairs):
        if _translated(generator, file, target, ranges, memory):
            written.append(target)
        else:
            skipped.append(file.path)
    if not written:
        raise UserError(
            f"None of the {len(skipped)} pictures in {input_folder} could be translated: see the warnings."
        )
    return Translated(tuple(written), tuple(skipped))


def ranges_of(
    run: str | os.PathLike, direction: str = "a2b"
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return black and white of the deep pictures that a run takes and makes; None where its data says none."""
    data = data_of(run)
    if data is None:
        return None, None
    first, second = data.get("source_a", data.get("source")), data.get("source_b", data.get("source"))
    if direction == "b2a":
        first, second = second, first
    return said_range(str(first)), said_range(str(second))


def generator_of(model: "keras.Model", direction: str) -> "keras.Model":
    """Return the network that translates pictures of any size in a direction.

    Args:
        model: a model of this zoo, or a generator alone.
        direction: "a2b" or "b2a"; a generator alone has one direction only, "a2b".

    Raises:
        UserError: the model can't translate in that direction.
    """
    from kerasgen.models import GenerativeModel

    if direction not in _DIRECTIONS:
        raise UserError(f"direction={direction!r} is unknown: choose 'a2b' or 'b2a'.")
    ours = isinstance(model, GenerativeModel)
    networks = model.translators() if ours else {"a2b": model}
    if not networks:
        raise UserError(
            f"The model is {a_kind(model)}, which can't translate {direction}: "
            "give a CycleGAN or a PairedTranslator, or the .keras file of a generator."
        )
    if direction not in networks:
        what = a_kind(model) if ours else "a single generator"
        raise UserError(f"The model is {what}, which has one direction only: leave b2a out.")
    return _checked(networks[direction])


def _checked(generator: "keras.Model") -> "keras.Model":
    """Return it, for pictures of any size; raise `UserError` unless it keeps or multiplies the size."""
    shape: Tensor = getattr(generator, "input_shape", None)
    takes_pictures = isinstance(shape, tuple) and len(shape) == 4 and 1 <= shape[-1] <= MOST_CHANNELS
    sides: tuple = shape[1:3] if takes_pictures else ()
    any_size = sides == (None, None)
    if not takes_pictures or (None in sides and not any_size):
        raise UserError(
            f"The model {generator.name!r} takes inputs of the shape {shape}, but a generator for pictures takes "
            f"(None, None, None, 1 to {MOST_CHANNELS}), or one size: give such a network."
        )
    probe = (_PROBE, _PROBE) if any_size else sides
    gives = tuple(generator.compute_output_shape((1, *probe, shape[-1])))
    times = gives[1] // probe[0] if len(gives) == 4 and gives[1] else 0
    if not times or gives[1:3] != (times * probe[0], times * probe[1]) or not 1 <= gives[-1] <= MOST_CHANNELS:
        raise UserError(
            f"The model {generator.name!r} makes {gives[1:]} of a picture of {probe[1]}×{probe[0]}, but a generator "
            "keeps or multiplies the size: give a generator, not a discriminator."
        )
    if any_size:
        return generator
    from kerasgen.models.fixed_size import for_any_size

    warnings.warn(
        f"The model {generator.name!r} takes pictures of {sides[1]}×{sides[0]} pixels alone: each is stretched to "
        "that size, and its translation back.",
        stacklevel=4,
    )
    return for_any_size(generator)


def _translated(
    generator: "keras.Model",
    file: PictureFile,
    target: Path,
    ranges: tuple[tuple[float, float] | None, tuple[float, float] | None],
    memory: int | None,
) -> bool:
    """Write the translation of a picture, or tell in a warning why there is none."""
    import tensorflow as tf

    from kerasgen.models.memory import usable_memory
    from kerasgen.models.translation import TooSmall, goes_whole, translate_images
    from kerasgen.networks.strips import NoPlan

    memory = usable_memory(memory)
    height, width = file.head.height, file.head.width
    try:
        if goes_whole(generator, height, width, memory):
            picture = read_picture(file.path, Fit("natural"), generator.input_shape[-1], ranges[0])
            translated = translate_images(generator, to_float(picture) * 2.0 - 1.0, memory=memory)
            _write(target, translated * 0.5 + 0.5, file.head, ranges[1])
        else:
            translate_large(generator, file, target, ranges, memory)
    except (PictureError, TooSmall) as error:
        which = "" if isinstance(error, PictureError) else f"{file.path}: "
        warnings.warn(f"{which}{error} It is skipped.", stacklevel=3)
        return False
    except (NoPlan, tf.errors.ResourceExhaustedError, MemoryError) as error:
        message = f"{file.path} is skipped, because its {width}×{height} pixels need more memory than there is"
        warnings.warn(f"{message}. {error}" if isinstance(error, NoPlan) else f"{message}: shrink it.", stacklevel=3)
        return False
    return True


def _write(target: Path, picture: np.ndarray, head: PictureHead, value_range: tuple[float, float] | None) -> None:
    """Write a picture in [0, 1] as the kind of file that `written_as` says."""
    kind, dtype = written_as(head, picture.shape[-1])
    if kind:
        write_deep(target, picture, dtype, value_range if head.kind else None)
    else:
        save_png(target, to_uint8(picture[None])[0])
