"""What pictures are changed by in training, against NumPy's own flips, turns and cuts."""

import numpy as np
import pytest
import tensorflow as tf

from kerasgen.data import load
from kerasgen.data.augmentation import AUGMENTATIONS, DRAWS, augmented
from kerasgen.errors import UserError


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def forms(image: np.ndarray, augmentation: str, count: int = 64) -> list[np.ndarray]:
    draws = np.random.default_rng(1).random((count, DRAWS), np.float32)
    return [augmented(tf.constant(image), augmentation, tf.constant(draw)).numpy() for draw in draws]


def windows(image: np.ndarray) -> list[np.ndarray]:
    """Every place of a picture of 32 by 48 pixels that is moved by two rows and three columns at most."""
    padded = np.pad(image, ((2, 2), (3, 3), (0, 0)), "symmetric")
    return [padded[y : y + 32, x : x + 48] for y in range(5) for x in range(7)]


def test_flips_are_numpys():
    image = picture(8, 6, 3)
    known = [image, image[:, ::-1]]
    counts = [sum(np.array_equal(form, one) for form in forms(image, "flips")) for one in known]
    assert sum(counts) == 64
    assert min(counts) > 16


def test_shifts_are_every_window_of_the_mirrored_picture():
    image = picture(32, 48, 1)
    known = [*windows(image), *windows(image[:, ::-1])]
    found = [[np.array_equal(form, one) for one in known] for form in forms(image, "flips_and_shifts", 600)]
    assert np.all(np.sum(found, axis=1) == 1)
    assert np.all(np.sum(found, axis=0) > 0)


def test_turns_are_the_eight_of_a_square():
    image = picture(7, 7, 3)
    known = [np.rot90(one, k) for one in (image, image[:, ::-1]) for k in range(4)]
    found = [[np.array_equal(form, one) for one in known] for form in forms(image, "turns")]
    assert np.all(np.sum(found, axis=1) == 1)
    assert np.all(np.sum(found, axis=0) > 0)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_numbers_stay_pictures(augmentation):
    for form in forms(picture(17, 17, 3), augmentation, 8):
        assert form.shape == (17, 17, 3)
        assert form.min() >= 0
        assert form.max() <= 1


def test_a_training_sees_each_picture_in_its_own_way_at_each_place():
    def batches(augmentation: str, start: int = 0, seed: int = 0) -> list[dict[str, np.ndarray]]:
        data = load("digits", batch_size=32, augmentation=augmentation, start_step=start, seed=seed)
        return [{name: value.numpy() for name, value in batch.items()} for batch in data.take(3)]

    plain, changed = batches("none"), batches("flips_and_shifts")
    for before, after in zip(plain, changed, strict=True):
        np.testing.assert_array_equal(before["label"], after["label"])
        for image, form in zip(before["image"], after["image"], strict=True):
            padded = [np.pad(one, ((1, 1), (1, 1), (0, 0)), "symmetric") for one in (image, image[:, ::-1])]
            places = [one[y : y + 16, x : x + 16] for one in padded for y in range(3) for x in range(3)]
            assert any(np.array_equal(form, place) for place in places)
        assert np.mean([np.array_equal(*pair) for pair in zip(before["image"], after["image"], strict=True)]) < 0.3
    # A training that goes on at a step draws the same.
    for found, expected in zip(batches("flips_and_shifts", start=1), changed[1:], strict=False):
        np.testing.assert_array_equal(found["image"], expected["image"])
    assert not np.array_equal(batches("flips_and_shifts", seed=1)[0]["image"], changed[0]["image"])


def test_what_is_judged_stays_as_it_is():
    plain, asked = (next(iter(load("digits", "test", augmentation=name))) for name in ("none", "flips_and_shifts"))
    np.testing.assert_array_equal(plain["image"], asked["image"])


def test_what_does_not_suit_the_pictures_is_said():
    with pytest.raises(UserError, match="no augmentation 'flip': choose one of none, flips"):
        load("digits", augmentation="flip")
    with pytest.raises(UserError, match="channels is 1, but the augmentation turns_and_colors"):
        load("digits", augmentation="turns_and_colors")
    with pytest.raises(UserError, match="'turns' needs square pictures"):
        load("digits", image_size=(16, 32), augmentation="turns")
