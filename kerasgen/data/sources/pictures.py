"""Whole pictures that ship with scikit-image, scikit-learn and matplotlib: enough to train restoration offline.

scikit-image's documentation of each picture says CC0, public domain or "no known copyright restrictions";
grace_hopper (matplotlib) is an official portrait by the US Navy. china.jpg is by danielbuechele and flower.jpg by
vultilion, CC BY 2.0 (scikit-learn's datasets/images/README.txt).
"""

import functools

import numpy as np

from kerasgen.data.sources.source import Fit, Kind, Source, check_channels, check_split
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
_PER_SIDE = 16


def open_split(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
    """Windows of the size of `fit` (64×64 by default): of 13 pictures to train on, of 2 photographs to test on.

    Each training picture gives 16×16 windows, and as many at half its size if it is large enough: without that, the
    two largest, a retina and a field of stars, would be more than half of the training. The test windows, from
    chelsea and china, lie side by side.

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

        with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
            return np.asarray(image.convert("RGB"))
    from skimage import data

    image = getattr(data, name)()
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image[..., :3]


def _windows(split: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """All pictures of a split below each other, uint8 [rows, columns, 3], and (top, left) of each window there."""
    images = [picture(name) for name in (TRAINING if split == "train" else TEST)]
    if split == "train":
        halves = [_half(image) for image in images]
        images += [half for half in halves if half.shape[0] >= height and half.shape[1] >= width]
    atlas = np.zeros((sum(len(i) for i in images), max(i.shape[1] for i in images), 3), np.uint8)
    first, corners = 0, []
    for image in images:
        atlas[first : first + len(image), : image.shape[1]] = image
        tops, lefts = (_starts(*sizes, split) for sizes in zip(image.shape[:2], (height, width), strict=True))
        corners += [(first + top, left) for top in tops for left in lefts]
        first += len(image)
    # Mixed, so that a first batch shows more than the first picture's upper edge.
    return atlas, np.random.RandomState(0).permutation(np.array(corners, np.int32))


def _half(image: np.ndarray) -> np.ndarray:
    """Means of 2×2 pixels: finer detail than the pictures have at their own size."""
    height, width = (s // 2 for s in image.shape[:2])
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return np.round(blocks.mean((1, 3))).astype(np.uint8)


def _starts(size: int, window: int, split: str) -> np.ndarray:
    """Where windows begin: the same number in each training picture, however large it is; else side by side."""
    if split == "train":
        return np.linspace(0, size - window, _PER_SIDE).round().astype(int)
    return np.arange(0, size - window + 1, window)
