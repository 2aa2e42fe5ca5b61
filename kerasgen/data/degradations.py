"""What turns a clean picture into a degraded one: seeded, composable, and written into a run's configuration.

A degradation is a frozen dataclass with a name in `DEGRADATIONS`, called with an image float32
[height, width, 3] in [0, 1] and a seed (two integers), in a TensorFlow graph. The same seed gives the same picture.
In a configuration it is a dict, such as {"kind": "noise", "sigma": 0.1}; several make a list, applied in its order.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kerasgen import values
from kerasgen.declared import check_known
from kerasgen.errors import UserError
from kerasgen.typing import Config, Tensor

_MOST_FACTOR = 64


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of standard deviation `sigma` pixels; the border is mirrored."""

    sigma: float = 1.0

    def __post_init__(self):
        values.number("sigma of a blur", self.sigma, above=0)

    def __call__(self, image: Tensor, seed: Tensor) -> Tensor:
        """Images [height, width, channels] in [0, 1] to the same."""
        import tensorflow as tf

        radius = max(1, round(3 * self.sigma))
        taps = tf.exp(-0.5 * (tf.range(-radius, radius + 1, dtype=tf.float32) / self.sigma) ** 2)
        taps = tf.reshape(taps / tf.reduce_sum(taps), [-1, 1, 1, 1])
        padded = tf.pad(image, [[radius, radius], [radius, radius], [0, 0]], mode="SYMMETRIC")
        planes = tf.transpose(padded, [2, 0, 1])[..., None]  # each channel by itself
        for kernel in (taps, tf.transpose(taps, [1, 0, 2, 3])):
            planes = tf.nn.conv2d(planes, kernel, 1, "VALID")
        return tf.transpose(planes[..., 0], [1, 2, 0])


@dataclass(frozen=True)
class Shrink:
    """Bicubic and antialiased to 1/`factor` of the size, as Pillow and MATLAB's imresize do; sides must divide."""

    factor: int = 2

    def __post_init__(self):
        values.whole("factor of a degradation", self.factor, most=_MOST_FACTOR)

    def __call__(self, image: Tensor, seed: Tensor) -> Tensor:
        """Images [height, width, channels] in [0, 1] to [height/factor, width/factor, channels]."""
        import tensorflow as tf

        size = tf.shape(image)[:2] // self.factor
        small = tf.image.resize(image, size, "bicubic", antialias=True)
        return tf.clip_by_value(small, 0.0, 1.0)


@dataclass(frozen=True)
class Enlarge:
    """Bicubic to `factor` times the size: after `Shrink`, the picture has its size again but not its detail."""

    factor: int = 2

    def __post_init__(self):
        values.whole("factor of a degradation", self.factor, most=_MOST_FACTOR)

    def __call__(self, image: Tensor, seed: Tensor) -> Tensor:
        """Images [height, width, channels] in [0, 1] to [height·factor, width·factor, channels]."""
        import tensorflow as tf

        size = tf.shape(image)[:2] * self.factor
        return tf.clip_by_value(tf.image.resize(image, size, "bicubic", antialias=True), 0.0, 1.0)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of standard deviation `sigma`, then clipped to [0, 1] as a sensor does.

    With `largest`, each picture has a standard deviation of its own, drawn evenly from `sigma` to `largest`.
    """

    sigma: float = 0.1
    largest: float | None = None

    def __post_init__(self):
        values.number("sigma of noise", self.sigma, least=0)
        if self.largest is not None:
            values.number("largest of noise", self.largest, least=self.sigma)

    def __call__(self, image: Tensor, seed: Tensor) -> Tensor:
        """Images [height, width, channels] in [0, 1] to the same."""
        import tensorflow as tf

        sigma = self.sigma
        if self.largest is not None:
            other = tf.bitwise.invert(tf.cast(seed, tf.int64))
            sigma = tf.random.stateless_uniform([], other, self.sigma, self.largest)
        noise = tf.random.stateless_normal(tf.shape(image), seed)
        return tf.clip_by_value(image + sigma * noise, 0.0, 1.0)


@dataclass(frozen=True)
class LowLight:
    """A short exposure: a gamma curve, a gain for each of R, G and B (unequal gains are a color cast)."""

    gamma: float = 1.6
    gain: tuple[float, float, float] = (0.34, 0.30, 0.24)

    def __post_init__(self):
        values.number("gamma of low_light", self.gamma, above=0)
        if not isinstance(self.gain, tuple) or len(self.gain) != 3:
            raise UserError(f"gain of low_light is {self.gain!r}: give three numbers, for R, G and B.")
        for part in self.gain:
            values.number("gain of low_light", part, above=0)

    def __call__(self, image: Tensor, seed: Tensor) -> Tensor:
        """Images [height, width, 3] in [0, 1] to the same."""
        import tensorflow as tf

        return tf.constant(self.gain, tf.float32) * image**self.gamma

    def inverse(self, image: Tensor) -> Tensor:
        """Return the exact inverse, which is what an ideal gamma and gain correction can do: the same shapes."""
        import numpy as np

        return np.clip(np.asarray(image) / np.asarray(self.gain, np.float32), 0.0, 1.0) ** (1.0 / self.gamma)


@dataclass(frozen=True)
class Hole:
    """A hole of `area` of the picture, and a fourth channel that says what is known: 1, or 0 in the hole.

    `where` is "center" (a square), "random" (a rectangle of any place and of an aspect up to 2:1) or "either". The
    three colors in the hole are 0.
    """

    area: float = 0.25
    where: str = "either"

    def __post_init__(self):
        if values.number("area of a hole", self.area, above=0) > 1:
            raise UserError(f"area of a hole is {self.area}: give a share of the picture, such as 0.25.")
        check_known(self.where, ("center", "random", "either"), f"A hole isn't made {self.where!r}")

    def __call__(self, image: Tensor, seed: Tensor) -> Tensor:
        """Images [height, width, 3] in [0, 1] to [height, width, 4]."""
        import tensorflow as tf

        draws = tf.random.stateless_uniform([4], seed)
        center = {"center": True, "random": False}.get(self.where, draws[3] < 0.5)
        aspect = tf.where(center, 1.0, 2.0 ** (2.0 * draws[0] - 1.0))
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        share = tf.minimum(tf.sqrt(self.area) * tf.stack([tf.sqrt(aspect), 1.0 / tf.sqrt(aspect)]), 1.0)
        hole = tf.round(size * share)
        start = tf.round((size - hole) * tf.where(center, 0.5, draws[1:3]))
        rows = tf.range(size[0])
        columns = tf.range(size[1])
        inside_rows = (rows >= start[0]) & (rows < start[0] + hole[0])
        inside_columns = (columns >= start[1]) & (columns < start[1] + hole[1])
        known = 1.0 - tf.cast(inside_rows[:, None] & inside_columns[None], tf.float32)[..., None]
        return tf.concat([image * known, known], axis=-1)


@dataclass(frozen=True)
class Chain:
    """Several degradations, one after the other, each with a seed of its own."""

    parts: tuple[Callable[[Tensor, Tensor], Tensor], ...]

    @property
    def needs_color(self) -> bool:
        """Whether a part is made for RGB only."""
        return any(isinstance(part, LowLight | Hole) for part in self.parts)

    def side_of(self, pixels: int) -> int:
        """Return which side a picture with a side of so many pixels gets.

        Raises:
            UserError: it can't be shrunk so.
        """
        side = pixels
        for part in self.parts:
            if isinstance(part, Shrink) and side % part.factor:
                raise UserError(
                    f"image_size is {pixels}, but the degradation shrinks {side} pixels by {part.factor}: give a "
                    "size that can be divided so."
                )
            if isinstance(part, Shrink | Enlarge):
                side = side // part.factor if isinstance(part, Shrink) else side * part.factor
        return side

    def __call__(self, image: Tensor, seed: Tensor) -> Tensor:
        """Send an image through all parts."""
        import tensorflow as tf

        for i, part in enumerate(self.parts):
            image = part(image, tf.cast(seed, tf.int64) + tf.constant([0x51_7CC1 * i, 0], tf.int64))
        return image


# A new degradation is a frozen dataclass, and its line here.
DEGRADATIONS: dict[str, type] = {
    "blur": Blur,
    "shrink": Shrink,
    "enlarge": Enlarge,
    "noise": Noise,
    "low_light": LowLight,
    "hole": Hole,
}


def degradation(config: dict[str, Config] | Sequence[dict[str, Config]]) -> Chain:
    """Return the degradation that a configuration says: one dict {"kind": …, parameters}, or a list of them.

    Raises:
        UserError: there is no such kind, or a parameter is unknown.
    """
    parts = []
    if not isinstance(config, dict | list | tuple) or not config:
        raise UserError(f"The degradation is {config!r}: give a dict such as {{'kind': 'noise', 'sigma': 0.1}}.")
    for entry in [config] if isinstance(config, dict) else config:
        if not isinstance(entry, dict):
            raise UserError(f"One of the degradations is {entry!r}: give dicts such as {{'kind': 'blur'}}.")
        options = dict(entry)
        kind = options.pop("kind", None)
        if not isinstance(kind, str) or kind not in DEGRADATIONS:
            raise UserError(f"There is no degradation {kind!r}: choose one of {', '.join(DEGRADATIONS)}.")
        known = [field.name for field in dataclasses.fields(DEGRADATIONS[kind])]
        if unknown := sorted(set(options) - set(known)):
            raise UserError(f"The degradation {kind!r} has no {unknown[0]!r}: it takes {', '.join(known)}.")
        # A run's JSON has lists where the dataclass has tuples.
        options = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
        parts.append(DEGRADATIONS[kind](**options))
    return Chain(tuple(parts))
