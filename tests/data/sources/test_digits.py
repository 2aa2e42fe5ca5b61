"""The digits source against scikit-learn's own arrays."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from kerasgen.data import load, open_source
from kerasgen.errors import UserError


def all_of(dataset):
    batches = list(dataset)
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


def test_the_splits_are_the_1797_digits_and_disjoint():
    found = [all_of(load("digits", split, image_size=16, shuffle=False)) for split in ("train", "test")]
    assert [len(part["label"]) for part in found] == [1500, 297]
    images = np.concatenate([part["image"] for part in found])
    assert len(np.unique(images.reshape(1797, -1).round(4), axis=0)) == len(
        np.unique(load_digits().images.reshape(1797, -1), axis=0)
    )
    assert images.min() == 0
    assert images.max() == 1


def test_a_digit_is_enlarged_and_padded_with_black():
    source = open_source("digits", "train", 16)
    image = source.example(tf.constant(0, tf.int64))["image"].numpy()
    assert image.shape == (16, 16, 1)
    assert image[:2].max() == image[-2:].max() == image[:, :2].max() == image[:, -2:].max() == 0
    # Shrunk back by averaging, it is the digit that scikit-learn gives.
    order = np.random.RandomState(0).permutation(1797)
    small = tf.image.resize(image[2:-2, 2:-2], (8, 8), "area").numpy()[:, :, 0]
    original = load_digits().images[order[0]] / 16
    assert np.corrcoef(small.ravel(), original.ravel())[0, 1] > 0.98


def test_epochs_differ_and_the_seed_repeats_them():
    def two_epochs(seed):
        dataset = load("digits", batch_size=100, seed=seed)
        return [all_of(dataset) for _ in range(2)]

    first, again, other = two_epochs(1), two_epochs(1), two_epochs(2)
    for epoch in range(2):
        np.testing.assert_array_equal(first[epoch]["label"], again[epoch]["label"])
    assert not np.array_equal(first[0]["label"], first[1]["label"])
    assert not np.array_equal(first[0]["label"], other[0]["label"])
    # One epoch takes each example once at most.
    assert len(first[0]["label"]) == 1500
    np.testing.assert_array_equal(np.sort(first[0]["label"]), np.sort(first[1]["label"]))


def test_shapes_are_known_to_keras():
    dataset = load("digits", image_size=(8, 32), channels=3, batch_size=64)
    assert dataset.element_spec["image"].shape == (64, 8, 32, 3)
    assert len(dataset) == 23
    assert len(load("digits", "test", batch_size=64)) == 5


@pytest.mark.parametrize("size", [np.int64(8), (np.int32(8), 8), np.array([8, 8])])
def test_numpys_numbers_are_numbers(size):
    batches = load("digits", image_size=size, channels=np.int64(3), batch_size=np.int64(4), shuffle=np.True_)
    assert batches.element_spec["image"].shape == (4, 8, 8, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "digit"}, "no data source 'digit'.*digits, photos, pictures, folder:PATH"),
        ({"source": "digits", "split": "validation"}, "no split 'validation'"),
        ({"source": "digits:8"}, "nothing behind a colon"),
        ({"source": "digits", "batch_size": 2000}, "batch_size from 1 to 1500"),
        ({"source": "digits", "image_size": 0}, "image_size is 0"),
        ({"source": "digits", "image_size": 8.5}, "image_size is 8.5: give whole numbers"),
        ({"source": "digits", "image_size": "64"}, "image_size is '64': give a whole number"),
        ({"source": "digits", "image_size": True}, "image_size is True"),
        ({"source": "digits", "channels": True}, "channels is True: give a whole number"),
        ({"source": "digits", "batch_size": "4"}, "batch_size is '4': give a whole number"),
        ({"source": "digits", "batch_size": 0}, "batch_size is 0: give a whole number"),
        ({"source": "digits", "shuffle": "yes"}, "shuffle is 'yes': give True or False"),
        ({"source": "digits", "download": "no"}, "download is 'no': give True or False"),
        ({"source": "digits", "start_step": "3"}, "start_step is '3': give a whole number"),
    ],
)
def test_mistakes_get_a_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        load(**arguments)
