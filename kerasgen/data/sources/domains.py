"""Domains with a known truth: an existing source, each image changed by a function that is known exactly."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from kerasgen.data.sources import digits, photos
from kerasgen.data.sources.source import Fit, Kind, Source
from kerasgen.errors import UserError
from kerasgen.typing import Tensor


@dataclass(frozen=True)
class Ink:
    """White strokes on black become ink on paper; the colors are RGB in [0, 1]."""

    ink: tuple[float, float, float] = (0.10, 0.16, 0.55)
    paper: tuple[float, float, float] = (0.92, 0.86, 0.68)

    def __call__(self, image: Tensor) -> Tensor:
        """Images [..., 3] in [0, 1] to the same."""
        import tensorflow as tf

        ink, paper = tf.constant(self.ink), tf.constant(self.paper)
        return paper + (ink - paper) * image


@dataclass(frozen=True)
class Dusk:
    """Daylight becomes dusk: a gamma curve, then a color matrix (the rows are the new R, G and B)."""

    gamma: float = 1.5
    matrix: tuple[tuple[float, float, float], ...] = ((0.62, 0.08, 0.0), (0.04, 0.58, 0.06), (0.04, 0.12, 0.74))

    def __call__(self, image: Tensor) -> Tensor:
        """Images [..., 3] in [0, 1] to the same."""
        import tensorflow as tf

        return tf.clip_by_value(tf.linalg.matvec(tf.constant(self.matrix), image**self.gamma), 0.0, 1.0)


def degraded(base: str, kind: Kind, degradation: Callable[[Tensor], Tensor], description: str) -> Kind:
    """Return the source `base` with each image changed by `degradation`; labels are kept."""

    def open_split(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
        if channels not in (None, 3):
            raise UserError(f"channels is {channels}, but this source is colored: leave channels out, or give 3.")
        opened = kind.open_split(argument, split, fit, 3)

        def example(index: Tensor) -> dict[str, Tensor]:
            found = opened.example(index)
            return {**found, "image": degradation(found["image"])}

        return replace(opened, example=example)

    return Kind(description, open_split, base=base)


DIGITS_INK = degraded("digits", digits.KIND, Ink(), "the digits in blue ink on cream paper")
PHOTO_DUSK = degraded("photos", photos.KIND, Dusk(), "the photos at dusk: darker, by a known curve and color matrix")
