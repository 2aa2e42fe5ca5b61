"""The faces are scikit-image's own arrays, 80 to train on and 20 that training never sees."""

import numpy as np
import tensorflow as tf
from skimage.data import lfw_subset

from kerasgen.data import load_paired, open_source


def all_of(split, **options):
    source = open_source("lfw", split, **options)
    return np.stack([source.example(tf.constant(i, tf.int64))["image"] for i in range(source.count)])


def test_they_are_the_first_hundred_and_no_face_is_in_both_splits():
    train, test = all_of("train"), all_of("test")
    assert train.shape == (80, 25, 25, 1)
    assert test.shape == (20, 25, 25, 1)
    found = {face.tobytes() for face in np.concatenate([train, test])}
    assert found == {face.astype("float32").tobytes() for face in lfw_subset()[:100]}
    assert len(found) == 100


def test_they_can_be_enlarged_and_colored():
    assert all_of("test", image_size=50, channels=3).shape == (20, 50, 50, 3)


def test_pairs_are_cut_out_of_the_faces_as_they_are():
    batch = next(iter(load_paired("lfw", {"kind": "shrink", "factor": 2}, "test", image_size=24, batch_size=4)))
    assert batch["a"].shape == (4, 12, 12, 3)
    np.testing.assert_allclose(batch["b"][..., :1] * 0.5 + 0.5, all_of("test")[:4, 1:, 1:], atol=1e-6)
