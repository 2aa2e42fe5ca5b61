"""Features of pictures that need no trained network and no download: what a bank of fixed filters answers."""

from collections.abc import Sequence

import numpy as np

from kerasgen.drawing import LUMA

_SCALES = 3
_LUMA = np.array(LUMA, np.float32)
# Numbers of a natural picture are of this size; all are brought to about 1, the size that the kernel is made for.
_COLOR, _ANSWER = 4.0, 16.0


def takes(shape: Sequence[int | None]) -> bool:
    """Tell whether pictures [n, height, width, channels] are gray or RGB, and large enough; None is an open size."""
    _, height, width, channels = shape
    return channels in (1, 3) and all(side is None or side >= 12 for side in (height, width))


def filter_bank_features(images: np.ndarray) -> np.ndarray:
    """Return what says how pictures are colored and textured, rather than what they show.

    At three scales, each half of the one before: mean and standard deviation of each color, and of the answers of
    luma and of two opponent colors to the eight 3×3 filters of the discrete cosine transform that have no mean the
    mean size and the standard deviation.

    Args:
        images: [n, height, width, 1 or 3] in [0, 1], 12 pixels high and wide at least.

    Returns:
        float32 [n, 162].
    """
    images = np.asarray(images, np.float32)
    images = images.repeat(3, axis=-1) if images.shape[-1] == 1 else images
    luma = images @ _LUMA
    planes = np.stack([luma, images[..., 0] - luma, images[..., 2] - luma], axis=-1)
    found = []
    for _ in range(_SCALES):
        found += [_COLOR * images.mean((1, 2)), _COLOR * images.std((1, 2))]
        for kernel in _filters():
            answers = sum(
                kernel[y, x] * planes[:, y : planes.shape[1] - 2 + y, x : planes.shape[2] - 2 + x]
                for y in range(3)
                for x in range(3)
            )
            found += [_ANSWER * np.abs(answers).mean((1, 2)), _ANSWER * answers.std((1, 2))]
        images, planes = _halved(images), _halved(planes)
    return np.concatenate(found, axis=1).astype(np.float32)


def _filters() -> list[np.ndarray]:
    """Return the filters [3, 3] of the transform, each of length 1, but for the mean."""
    places = np.arange(3) + 0.5
    lines = [np.cos(np.pi * k * places / 3) for k in range(3)]
    lines = [line / np.linalg.norm(line) for line in lines]
    return [np.outer(a, b).astype(np.float32) for i, a in enumerate(lines) for j, b in enumerate(lines) if i + j]


def _halved(images: np.ndarray) -> np.ndarray:
    """Return the means of 2×2 pixels; an odd last row or column goes."""
    height, width = (size // 2 * 2 for size in images.shape[1:3])
    n, channels = len(images), images.shape[-1]
    return images[:, :height, :width].reshape(n, height // 2, 2, width // 2, 2, channels).mean((2, 4))
