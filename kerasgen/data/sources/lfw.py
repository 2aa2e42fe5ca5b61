"""One hundred real faces, gray and of 25×25 pixels, that ship with scikit-image.

A part of "Labeled Faces in the Wild" (G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller, University of
Massachusetts, Amherst, Technical Report 07-49, 2007). The pictures belong to their photographers: they are here to
learn from, not to be published.
"""

import functools

import numpy as np

from kerasgen.data.sources.source import Fit, Kind, Source, check_channels, check_split

_FACES = 100  # of scikit-image's 200 pictures; the others show no face
_TRAIN_COUNT = 80
_SIDE = 25


def open_split(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
    """Open the faces at their own 25×25 pixels, or enlarged; one gray channel unless three are asked for.

    The split is fixed: a permutation by a constant seed; 80 to train on, 20 held out.

    Raises:
        UserError: there is no such split, or it can't be read with that many channels.
    """
    import tensorflow as tf

    check_split("lfw", split)
    check_channels(channels)
    # A crop out of the middle, or of a random place, is made of the faces as they are.
    own = fit.rule in ("natural", "fours") and (fit.size is None or max(fit.size) <= _SIDE)
    faces = _faces((_SIDE, _SIDE) if fit.size is None or own else fit.size)
    part = faces[:_TRAIN_COUNT] if split == "train" else faces[_TRAIN_COUNT:]
    table = tf.constant(np.repeat(part, channels or 1, axis=-1))
    return Source(len(part), lambda i: {"image": table[i]}, names=tuple(f"{split}_{i}" for i in range(len(part))))


KIND = Kind("100 real faces of 25×25 gray pixels from scikit-image; splits train (80) and test (20)", open_split)


@functools.lru_cache(maxsize=4)
def _faces(size: tuple[int, int]) -> np.ndarray:
    """Return float32 [100, height, width, 1] in [0, 1], in the order of the split."""
    import tensorflow as tf
    from skimage.data import lfw_subset

    # RandomState's stream is the one that NumPy promises never to change.
    order = np.random.RandomState(0).permutation(_FACES)
    faces = lfw_subset()[:_FACES][order, :, :, None].astype("float32")
    if size == faces.shape[1:3]:
        return faces
    return np.clip(tf.image.resize(faces, size, "bicubic", antialias=True).numpy(), 0.0, 1.0)
