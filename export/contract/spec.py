"""What a picture is outside a network and inside it, and the arithmetic between the two."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasgen import values
from kerasgen.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class ImageSpec:
    """How pictures enter and leave an artifact: uint8 outside, in [0, 255], floats of `value_range` inside.

    Every float tensor [batch, height, width, 1 to 4 channels] of the network is a picture; all others (latents,
    labels) stay as they are. Channels are gray, RGB or RGBA, in the order that PNG has.

    Args:
        size: of the pictures that enter: pixels, or (height, width). None leaves open what the network leaves open.
        value_range: what 0 and 255 are inside the network: (0, 1) for a VAE, (-1, 1) for a GAN.
        multiple: what height and width must be divisible by. Where sizes are open, a SavedModel mirrors a picture at
            its right and bottom edge up to such a size, and cuts the result back; other formats need such sizes.

    Raises:
        UserError: an argument doesn't fit.

    Example:
        ImageSpec(value_range=(-1, 1))  # inside the network -1 is black and 1 is white
    """

    size: int | tuple[int, int] | None = None
    value_range: tuple[float, float] = (-1.0, 1.0)
    multiple: int = 1
    pictures: tuple[str, ...] | None = None

    def __post_init__(self):
        object.__setattr__(self, "value_range", values.pair("value_range", self.value_range))
        values.whole("multiple", self.multiple)
        named = self.pictures
        if named is not None and (isinstance(named, str) or not all(isinstance(name, str) for name in named)):
            raise UserError(f"pictures is {named!r}: give the names of tensors, such as ('image',).")
        if self.size is None:
            return
        sides = self.size if isinstance(self.size, tuple | list) else (self.size, self.size)
        height, width = values.shape("size", sides, "height, width")
        object.__setattr__(self, "size", (height, width))
        if height % self.multiple or width % self.multiple:
            raise UserError(
                f"size is {height}×{width}, but this network needs sides divisible by {self.multiple}: choose others."
            )

    @property
    def height_width(self) -> tuple[int | None, int | None]:
        """The size as (height, width); None is open."""
        return self.size if isinstance(self.size, tuple) else (None, None)

    @property
    def scale(self) -> float:
        """What one of the 255 steps is inside the network."""
        low, high = self.value_range
        return (high - low) / 255.0

    def describe(self) -> dict:
        """Return what a client must know, for the manifest."""
        low, high = map(float, self.value_range)
        return {
            "size": list(self.height_width),
            "value_range": [low, high],
            "on_entry": f"x = value * {self.scale!r} + {low!r}",
            "on_exit": f"value = floor(clip((x - {low!r}) / {self.scale!r}, 0, 255) + 0.5)",
            "channel_order": "gray, RGB or RGBA, as in PNG",
            "resize": "the artifact doesn't resize: bring pictures to its size with an antialiased bicubic filter",
            "multiple_of": self.multiple,
        }

    def to_floats(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 pictures as the network takes them, float32."""
        return pictures.astype("float32") * np.float32(self.scale) + np.float32(self.value_range[0])

    def to_pictures(self, floats: np.ndarray) -> np.ndarray:
        """Describe what the network gives, or takes, as uint8 pictures."""
        steps = (floats.astype("float64") - self.value_range[0]) / self.scale
        return np.floor(np.clip(steps, 0, 255) + 0.5).astype("uint8")

    def enter(self, pictures: "tf.Tensor") -> "tf.Tensor":
        """`to_floats` in the graph."""
        import tensorflow as tf

        return tf.cast(pictures, tf.float32) * self.scale + self.value_range[0]

    def leave(self, floats: "tf.Tensor") -> "tf.Tensor":
        """`to_pictures` in the graph."""
        import tensorflow as tf

        # No converter takes tf.saturate_cast; a cast truncates, and so rounds what half a step was added to.
        steps = (floats - self.value_range[0]) * (1.0 / self.scale)
        return tf.cast(tf.minimum(tf.maximum(steps, 0.0), 255.0) + 0.5, tf.uint8)
