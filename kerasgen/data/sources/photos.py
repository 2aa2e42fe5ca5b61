"""Crops of the two photographs that ship with scikit-learn, at their full resolution.

china.jpg is by danielbuechele and flower.jpg by vultilion (both on Flickr), CC BY 2.0, as scikit-learn's own
datasets/images/README.txt says.
"""

import numpy as np

from kerasgen.data.sources.source import Fit, Kind, Source, check_channels, check_split
from kerasgen.errors import UserError

_TRAIN_ROWS = 288  # of 427; the rest is the test split's, so that the two share no pixel
_LARGEST = 128


def open_split(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
    """Windows of the size of `fit` (64×64 by default) from china.jpg and flower.jpg, 427×640 each.

    The train split lies in the upper 288 rows, with overlaps; the first and the second half of its examples
    share no pixel (a chess board of blocks). The test split's windows lie in the lower 139 rows, side by side.

    Raises:
        UserError: there is no such split, or the windows are larger than 128 pixels.
    """
    import tensorflow as tf
    from sklearn.datasets import load_sample_images

    check_split("photos", split)
    check_channels(channels)
    height, width = fit.size or (64, 64)
    if max(height, width) > _LARGEST:
        raise UserError(
            f"image_size is {height}×{width}, but 'photos' are small: choose {_LARGEST} at most, "
            "or pictures of your own with folder:PATH."
        )
    pictures = np.stack(load_sample_images().images)
    corners = _training_corners(pictures.shape[:3], height, width)
    if split != "train":
        corners = _corners(len(pictures), (_TRAIN_ROWS, pictures.shape[1]), pictures.shape[2], height, width)
        # Mixed, so that a first batch shows more than sky.
        corners = np.random.RandomState(0).permutation(corners)
    picture_table, corner_table = tf.constant(pictures), tf.constant(corners)

    def example(index: tf.Tensor) -> dict[str, tf.Tensor]:
        start = tf.concat([corner_table[index], [0]], axis=0)
        window = tf.slice(picture_table, start, [1, height, width, 3])[0]
        image = tf.cast(window, tf.float32) / 255.0
        return {"image": tf.image.rgb_to_grayscale(image) if channels == 1 else image}

    return Source(len(corners), example)


KIND = Kind("crops of scikit-learn's two photographs, up to 128 pixels; splits train and test", open_split)


def _corners(pictures: int, rows: tuple[int, int], columns: int, down: int, right: int) -> np.ndarray:
    """(picture, top, left) of the windows down×right that tile these rows of each picture: int32 [n, 3]."""
    tops = range(rows[0], rows[1] - down + 1, down)
    lefts = range(0, columns - right + 1, right)
    return np.array([(p, t, s) for p in range(pictures) for t in tops for s in lefts], np.int32)


def _training_corners(shape: tuple[int, int, int], height: int, width: int) -> np.ndarray:
    """Overlapping windows within blocks of twice their size: those of the chess board's white blocks first."""
    blocks = _corners(shape[0], (0, _TRAIN_ROWS), shape[2], 2 * height, 2 * width)
    color = (blocks[:, 0] + blocks[:, 1] // (2 * height) + blocks[:, 2] // (2 * width)) % 2
    fewest = min(np.count_nonzero(color == c) for c in (0, 1))
    ordered = np.concatenate([blocks[color == c][:fewest] for c in (0, 1)])
    shifts = [
        (0, top, left)
        for top in range(0, height + 1, max(1, height // 4))
        for left in range(0, width + 1, max(1, width // 4))
    ]
    return (ordered[:, None] + np.array(shifts, np.int32)).reshape(-1, 3)
