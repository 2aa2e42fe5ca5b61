"""Whole pictures that ship with scikit-image, scikit-learn and matplotlib: enough to train restoration offline.

scikit-image's documentation of each picture says CC0, public domain or "no known copyright restrictions";
grace_hopper (matplotlib) is an official portrait by the US Navy. china.jpg is by danielbuechele and flower.jpg by
vultilion, CC BY 2.0 (scikit-learn's datasets/images/README.txt).
"""

import functools

import numpy as np

from kerasgen.data.source import Fit, Kind, Source, check_channels, check_split
from kerasgen.errors import UserError

# scikit-image's "cat" is left out: it is nearly the test picture chelsea.
TRAINING = (
    "astronaut",
    "coffee",
    "rocket",
    "flower",
    "brick",
    "grass",
    "gravel",
    "retina",
    "hubble_deep_field",
    "immunohistochemistry",
    "camera",
    "coins",
    "grace_hopper",
)
TEST = ("chelsea", "china")
_LARGEST = 256


def open_split(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
    """Windows of the size of `fit` (64×64 by default): of 13 pictures to train on, of 2 photographs to test on.

    The training windows overlap by three quarters; the test windows, from chelsea and china, lie side by side.

    Raises:
        UserError: there is no such split, or the windows are larger than 256 pixels.
    """
    import tensorflow as tf

    check_split("pictures", split)
    check_channels(channels)
    height, width = fit.size or (64, 64)
    if max(height, width) > _LARGEST:
        raise UserError(
            f"image_size is {height}×{width}, but 'pictures' are small: choose {_LARGEST} at most, "
            "or pictures of your own with folder:PATH."
        )
    atlas, corners = _windows(split, height, width)
    atlas_table, corner_table = tf.constant(atlas), tf.constant(corners)

    def example(index: tf.Tensor) -> dict[str, tf.Tensor]:
        start = tf.concat([corner_table[index], [0]], axis=0)
        image = tf.cast(tf.slice(atlas_table, start, [height, width, 3]), tf.float32) / 255.0
        return {"image": tf.image.rgb_to_grayscale(image) if channels == 1 else image}

    return Source(len(corners), example)


KIND = Kind(
    "windows of 13 pictures that come with the installed libraries, up to 256 pixels; the test split is chelsea and "
    "china, two whole photographs that training never sees",
    open_split,
)


@functools.lru_cache(maxsize=32)
def picture(name: str) -> np.ndarray:
    """One of `TRAINING` or `TEST` as uint8 RGB [height, width, 3], at its own size."""
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image

        return load_sample_image(f"{name}.jpg")
    if name == "grace_hopper":
        from matplotlib.cbook import get_sample_data
        from PIL import Image

        with get_sample_data("grace_hopper.jpg") as file:
            return np.asarray(Image.open(file).convert("RGB"))
    from skimage import data

    image = getattr(data, name)()
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image[..., :3]


def _windows(split: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """All pictures of a split below each other, uint8 [rows, columns, 3], and (top, left) of each window there."""
    images = [picture(name) for name in (TRAINING if split == "train" else TEST)]
    atlas = np.zeros((sum(len(i) for i in images), max(i.shape[1] for i in images), 3), np.uint8)
    steps = (max(1, height // 4), max(1, width // 4)) if split == "train" else (height, width)
    first, corners = 0, []
    for image in images:
        atlas[first : first + len(image), : image.shape[1]] = image
        tops = range(first, first + image.shape[0] - height + 1, steps[0])
        corners += [(top, left) for top in tops for left in range(0, image.shape[1] - width + 1, steps[1])]
        first += len(image)
    # Mixed, so that a first batch shows more than the first picture's upper edge.
    return atlas, np.random.RandomState(0).permutation(np.array(corners, np.int32))
