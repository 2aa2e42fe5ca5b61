"""Degradations against Pillow, SciPy and NumPy; pairs and degraded domains."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from kerasgen.data import load_paired, load_registration, load_unpaired, open_source
from kerasgen.data.degradations import LowLight, degradation
from kerasgen.data.sources.pictures import TEST, TRAINING, picture
from kerasgen.errors import UserError

SEED = tf.constant([3, 4], tf.int64)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A piece of china.jpg, float32 [64, 96, 3] in [0, 1]."""
    return (load_sample_image("china.jpg")[100:164, 200:296] / 255).astype("float32")


def degraded(photo: np.ndarray, *config: dict, seed: tf.Tensor = SEED) -> np.ndarray:
    return degradation(list(config))(tf.constant(photo), seed).numpy()


def test_shrinking_is_pillows_antialiased_bicubic(photo):
    planes = [Image.fromarray(photo[..., c]).resize((48, 32), Image.BICUBIC) for c in range(3)]
    expected = np.clip(np.stack(planes, -1), 0, 1)
    np.testing.assert_allclose(degraded(photo, {"kind": "shrink", "factor": 2}), expected, atol=1e-5)
    again = degraded(photo, {"kind": "shrink", "factor": 2}, {"kind": "enlarge", "factor": 2})
    planes = [Image.fromarray(expected[..., c]).resize((96, 64), Image.BICUBIC) for c in range(3)]
    np.testing.assert_allclose(again, np.clip(np.stack(planes, -1), 0, 1), atol=1e-5)


def test_blur_is_scipys(photo):
    expected = gaussian_filter(photo, (1.5, 1.5, 0), mode="reflect", radius=(4, 4, 0))
    np.testing.assert_allclose(degraded(photo, {"kind": "blur", "sigma": 1.5}), expected, atol=2e-3)


def test_noise_has_its_sigma_and_its_seed():
    gray = np.full((128, 128, 3), 0.5, np.float32)
    noise = degraded(gray, {"kind": "noise", "sigma": 0.1}) - gray
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert noise.mean() == pytest.approx(0.0, abs=0.003)
    np.testing.assert_array_equal(noise + gray, degraded(gray, {"kind": "noise", "sigma": 0.1}))
    other = degraded(gray, {"kind": "noise", "sigma": 0.1}, seed=SEED + 1)
    assert abs(np.corrcoef(noise.ravel(), (other - gray).ravel())[0, 1]) < 0.02
    twice = degraded(gray, {"kind": "noise", "sigma": 0.1}, {"kind": "noise", "sigma": 0.1}) - gray
    assert twice.std() == pytest.approx(0.1 * np.sqrt(2), rel=0.03)  # the second is not the first once more


def test_noise_of_a_range_differs_between_pictures():
    gray = np.full((64, 64, 3), 0.5, np.float32)
    config = {"kind": "noise", "sigma": 0.02, "largest": 0.12}
    found = [(degraded(gray, config, seed=seed) - gray).std() for seed in np.arange(400).reshape(200, 2)]
    assert 0.0195 < min(found) < 0.03
    assert 0.11 < max(found) < 0.1225
    assert np.mean(found) == pytest.approx(0.07, abs=0.006)


def test_low_light_and_its_inverse(photo):
    dark = degraded(photo, {"kind": "low_light"})
    np.testing.assert_allclose(dark, np.float32([0.34, 0.30, 0.24]) * photo**1.6, atol=1e-6)
    np.testing.assert_allclose(LowLight().inverse(dark), photo, atol=1e-3)


@pytest.mark.parametrize("where", ["center", "random", "either"])
def test_a_hole_is_a_rectangle_of_its_area(photo, where):
    square = photo[:, :64]
    places = set()
    for i in range(8):
        found = degraded(square, {"kind": "hole", "area": 0.25, "where": where}, seed=SEED + i)
        known = found[..., 3]
        rows, columns = np.nonzero(known == 0)
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert area == len(rows)
        assert area == pytest.approx(0.25 * 64 * 64, rel=0.05)
        np.testing.assert_array_equal(found[..., :3], square * known[..., None])
        places.add((rows.min(), columns.min()))
    assert (len(places) == 1) == (where == "center")
    assert where == "random" or (16, 16) in places


def test_wrong_degradations_are_named():
    with pytest.raises(UserError, match="no degradation 'fog': choose one of blur, shrink"):
        degradation({"kind": "fog"})
    with pytest.raises(UserError, match="'noise' has no 'strength': it takes sigma"):
        degradation({"kind": "noise", "strength": 1})


# -- pairs ----------------------------------------------------------------------------------------------------


def test_pairs_are_a_clean_square_and_its_degraded_copy():
    dark = [{"kind": "low_light", "gamma": 1.6, "gain": [0.34, 0.3, 0.24]}]  # lists, as JSON has them
    dataset = load_paired("photos", dark, "test", image_size=32, batch_size=8)
    batch = next(iter(dataset))
    clean = batch["b"].numpy() * 0.5 + 0.5
    expected = np.float32([0.34, 0.30, 0.24]) * np.maximum(clean, 0) ** 1.6
    np.testing.assert_allclose(batch["a"].numpy() * 0.5 + 0.5, expected, atol=1e-4)
    source = open_source("photos", "test", 32)
    np.testing.assert_allclose(clean[0], source.example(tf.constant(0, tf.int64))["image"], atol=1e-6)


def test_training_pairs_are_a_function_of_the_seed_and_the_place():
    def batches(start: int, seed: int = 0) -> list[dict]:
        noise = {"kind": "noise", "sigma": 0.1}
        dataset = load_paired(
            "photos", noise, image_size=32, batch_size=4, seed=seed, augmentation="turns_and_colors", start_step=start
        )
        return [{name: value.numpy() for name, value in batch.items()} for batch in dataset.take(3)]

    whole = batches(0)
    for found, expected in zip(batches(2), whole[2:], strict=False):
        np.testing.assert_array_equal(found["a"], expected["a"])
        np.testing.assert_array_equal(found["b"], expected["b"])
    assert not np.array_equal(batches(0, seed=1)[0]["b"], whole[0]["b"])


def test_augmentation_turns_pictures_and_changes_colors():
    noise = {"kind": "noise", "sigma": 0.0}

    def spectra(augmentation: str) -> np.ndarray:
        dataset = load_paired("photos", noise, image_size=32, batch_size=64, augmentation=augmentation, seed=2)
        return next(iter(dataset))["b"].numpy()

    plain, turned, colored = (spectra(name) for name in ("none", "turns", "turns_and_colors"))
    # A turned picture keeps each channel's mean, and another order of colors keeps only their set or its negative.
    np.testing.assert_allclose(turned.mean((1, 2)), plain.mean((1, 2)), atol=1e-5)
    assert not np.allclose(turned, plain)
    means, found = np.sort(plain.mean((1, 2)), -1), np.sort(colored.mean((1, 2)), -1)
    same = np.isclose(found, means, atol=1e-5).all(-1)
    negative = np.isclose(found, np.sort(-means, -1), atol=1e-5).all(-1)
    assert (same | negative).all()
    assert 10 < negative.sum() < 54


def test_one_source_makes_two_unpaired_domains_with_the_truth():
    noise = {"kind": "noise", "sigma": 0.2}
    batch = next(iter(load_unpaired("photos", "photos", "test", image_size=32, mode="crop", degradation=noise)))
    difference = (batch["a"] - batch["truth_b"]).numpy() / 2
    assert 0.1 < difference.std() < 0.21
    assert not np.allclose(batch["b"], batch["truth_b"])
    with pytest.raises(UserError, match="give the same source twice"):
        load_unpaired("photos", "digits", image_size=32, degradation=noise)


def test_wrong_pairs_are_said():
    with pytest.raises(UserError, match="no augmentation 'all'"):
        load_paired("photos", {"kind": "blur"}, augmentation="all")
    with pytest.raises(UserError, match="'pictures' are small: choose 256"):
        load_paired("pictures", {"kind": "blur"}, image_size=512)
    for name, value in (("image_size", "32"), ("image_size", 32.5), ("seed", "one"), ("batch_size", 2.5)):
        with pytest.raises(UserError, match=f"{name} is {value!r}: give a whole number"):
            load_paired("photos", {"kind": "blur"}, **{name: value})


# -- the pictures ---------------------------------------------------------------------------------------------


def test_pictures_are_those_of_the_libraries_and_the_tests_are_not_trained_on():
    from skimage import data

    np.testing.assert_array_equal(picture("astronaut"), data.astronaut())
    np.testing.assert_array_equal(picture("camera")[..., 1], data.camera())
    assert not set(TRAINING) & {*TEST, "cat"}
    source = open_source("pictures", "test", 64)
    windows = [source.example(tf.constant(i, tf.int64))["image"].numpy() for i in range(source.count)]
    found = {np.round(window * 255).astype(np.uint8).tobytes() for window in windows}
    assert np.ascontiguousarray(data.chelsea()[:64, :64]).tobytes() in found
    assert np.ascontiguousarray(load_sample_image("china.jpg")[64:128, 128:192]).tobytes() in found
    assert source.count == (300 // 64) * (451 // 64) + (427 // 64) * (640 // 64)


def test_pictures_of_other_channels_are_degraded_too(tmp_path):
    pixels = np.random.default_rng(0).random((8, 20, 20, 7), np.float32)
    for i, array in enumerate(pixels):
        np.save(tmp_path / f"{i}.npy", array)
    source, noise = f"folder:{tmp_path}?range=0..1", {"kind": "noise", "sigma": 0.1}
    batch = next(iter(load_paired(source, noise, image_size=16, channels=7, batch_size=4)))
    assert batch["a"].shape == batch["b"].shape == (4, 16, 16, 7)
    with pytest.raises(UserError, match="channels is 7, but low_light and hole"):
        load_paired(source, {"kind": "hole"}, image_size=16, channels=7)


def test_a_size_that_cannot_be_shrunk_is_said():
    with pytest.raises(UserError, match="image_size is 49, but the degradation shrinks 49 pixels by 2"):
        load_paired("photos", {"kind": "shrink", "factor": 2}, image_size=49)
    both = [{"kind": "shrink", "factor": 2}, {"kind": "shrink", "factor": 4}]
    with pytest.raises(UserError, match="image_size is 36, but the degradation shrinks 18 pixels by 4"):
        load_paired("photos", both, image_size=36)
    with pytest.raises(UserError, match=r"no degradation \['a'\]"):
        load_paired("photos", {"kind": ["a"]}, image_size=36)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amplitude": float("nan")}, "amplitude is nan"),
        ({"amplitude": 0.0}, "amplitude is 0.0"),
        ({"knots": 1}, "knots is 1"),
        ({"image_size": -1}, "image_size is -1"),
        ({"image_size": "32"}, "image_size is '32': give a whole number"),
        ({"seed": 1.5}, "seed is 1.5: give a whole number"),
    ],
)
def test_wrong_warps_are_said(options, message):
    with pytest.raises(UserError, match=message):
        load_registration("photos", **options)
