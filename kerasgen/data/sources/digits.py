"""scikit-learn's handwritten digits: 1,797 real 8×8 pictures that ship with the library.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, CC BY 4.0.
"""

import functools

import numpy as np

from kerasgen.data.sources.source import Fit, Kind, Source, check_channels, check_split

_TRAIN_COUNT = 1500


def open_split(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
    """Return the digits at the size of `fit` (16×16 by default), one gray channel unless three are asked for.

    Each digit is enlarged by bicubic interpolation to three quarters of the size and padded with black, so that
    its strokes stay inside the picture. The split is fixed: a permutation of the 1,797 by a constant seed, because
    scikit-learn keeps the writers together.

    Raises:
        UserError: there is no such split.
    """
    import tensorflow as tf

    check_split("digits", split)
    check_channels(channels)
    images, labels, names = _digits(fit.size or (16, 16))
    part = slice(_TRAIN_COUNT) if split == "train" else slice(_TRAIN_COUNT, None)
    image_table = tf.constant(np.repeat(images[part], channels or 1, axis=-1))
    label_table = tf.constant(labels[part])
    return Source(
        len(labels[part]),
        lambda i: {"image": image_table[i], "label": label_table[i]},
        names,
        lambda: labels[part],
    )


KIND = Kind(
    "scikit-learn's 1,797 handwritten digits with labels; splits train (1,500) and test (297)",
    open_split,
)


@functools.lru_cache(maxsize=4)
def _digits(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images [1797, height, width, 1], labels and their names, in the order of the split."""
    import tensorflow as tf
    from sklearn.datasets import load_digits

    data = load_digits()
    # RandomState's stream is the one that NumPy promises never to change.
    order = np.random.RandomState(0).permutation(len(data.images))
    small = (data.images[order, :, :, None] / 16).astype("float32")
    inner = [round(n * 3 / 4) for n in size]
    enlarged = np.clip(tf.image.resize(small, inner, "bicubic", antialias=True).numpy(), 0, 1)
    margins = [((n - m) // 2, n - m - (n - m) // 2) for n, m in zip(size, inner, strict=True)]
    names = tuple(str(n) for n in data.target_names)
    return np.pad(enlarged, ((0, 0), *margins, (0, 0))), data.target[order].astype("int32"), names
