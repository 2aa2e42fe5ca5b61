"""Pictures for people: grids, comparisons side by side, training curves."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from kerasgen.errors import UserError
from kerasgen.files import atomic_write
from kerasgen.typing import Tensor

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue; ITU-R BT.601
_GAP, _TITLE_HEIGHT, _LEAST_SIDE = 2, 18, 48
_PAPER = 255


def to_uint8(images: Tensor) -> np.ndarray:
    """Return images in [0, 1] (or uint8 already) as uint8 RGB [n, height, width, 3].

    Of other numbers of channels than 1 and 3, the first three are shown, or of two the first.

    Raises:
        UserError: they are not [n, height, width, channels].
    """
    images = np.asarray(images)
    if images.ndim != 4 or not len(images) or not images.shape[-1]:
        raise UserError(f"The images have the shape {images.shape}, but [n, height, width, channels] is needed.")
    images = images[..., : 3 if images.shape[-1] >= 3 else 1]
    if images.dtype != np.uint8:
        images = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def grid(images: Tensor, columns: int | None = None) -> np.ndarray:
    """Images [n, height, width, 1 or 3] in [0, 1] as one uint8 picture, as square as can be by default.

    Small images are enlarged by a whole factor, so that a person can see them.

    Example:
        grid(np.zeros((16, 16, 16, 1)), columns=4)
    """
    images = to_uint8(images)
    factor = max(1, -(-_LEAST_SIDE // images.shape[1]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, _ = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), _PAPER, np.uint8)
    for i, image in enumerate(images):
        top, left = (_GAP + n * (s + _GAP) for n, s in zip(divmod(i, columns), (height, width), strict=True))
        sheet[top : top + height, left : left + width] = image
    return sheet


def side_by_side(pictures: Mapping[str, Tensor], rows: int | None = None) -> np.ndarray:
    """Images by title, all [n, height, width, channels] of one size, as one uint8 picture.

    One title makes a `grid`. Several make rows of n: the title, then its pictures, so that each column shows
    what became of one image; `rows` limits n.

    Example:
        side_by_side({"input": np.zeros((4, 16, 16, 3)), "output": np.ones((4, 16, 16, 3))})
    """
    if len(pictures) == 1:
        return grid(next(iter(pictures.values())))
    strips = []
    for title, images in pictures.items():
        strip = grid(images[:rows], columns=len(images[:rows]))
        strips += [_title(title, strip.shape[1]), strip]
    return np.concatenate(strips)


def _title(text: str, width: int) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, _TITLE_HEIGHT), (_PAPER,) * 3)
    ImageDraw.Draw(image).text((_GAP + 2, 1), text, fill=(40, 40, 40), font=ImageFont.load_default(13))
    return np.asarray(image)


def save_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write a uint8 picture [height, width, 3] as PNG, atomically.

    Raises:
        UserError: the path can't be written.
    """
    from PIL import Image

    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def plot_history(path: str | os.PathLike, history: Mapping[str, Sequence[float]]) -> None:
    """Draw the curves of a training, one panel a metric, validation over training, as PNG.

    Args:
        path: the PNG.
        history: values of each epoch by name, as `fit(...).history` has them; "val_…" is validation.

    Raises:
        UserError: there is nothing to draw, or the path can't be written.
    """
    # The object-oriented way needs no backend and leaves the user's pyplot alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    if not names:
        raise UserError("The history is empty: train for at least one epoch.")
    figure = Figure(figsize=(4 * min(3, len(names)), 3 * -(-len(names) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    for i, name in enumerate(names):
        axes = figure.add_subplot(-(-len(names) // 3), min(3, len(names)), i + 1)
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                axes.plot(
                    range(1, len(history[key]) + 1), history[key], label=label, marker="." * (len(history[key]) < 3)
                )
        axes.set(title=name.replace("_", " "), xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
