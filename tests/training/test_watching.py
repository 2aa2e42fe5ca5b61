"""What is measured of an unpaired translation while it trains, on photographs."""

import warnings

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images

from kerasgen.metrics.distances import kernel_distance
from kerasgen.metrics.filter_bank import filter_bank_features, takes
from kerasgen.models import CycleGAN
from kerasgen.training.watching import TranslationWatch, light_correlation, risen_from


def crops(photo: int, start: int = 0) -> np.ndarray:
    """24 crops: float32 [24, 32, 32, 3] in [0, 1]."""
    whole = load_sample_images().images[photo]
    corners = [(start + 48 * (i // 6), 96 * (i % 6)) for i in range(24)]
    return np.stack([whole[y : y + 32, x : x + 32] for y, x in corners]) / np.float32(255)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return kernel_distance(filter_bank_features(a), filter_bank_features(b), subsets=1).mean


def test_the_distance_orders_pictures_as_people_do():
    target = crops(0)
    blurred = gaussian_filter(target, (0, 1.5, 1.5, 0))
    tinted = np.clip(target * [1.0, 0.7, 0.5], 0, 1)
    near, of_blurred, of_tinted = (distance(x, target) for x in (crops(0, start=16), blurred, tinted))
    assert near < 0.1 * of_blurred
    assert near < 0.1 * of_tinted
    assert distance(crops(1), target) > near
    gray = crops(0).mean(-1, keepdims=True)
    np.testing.assert_allclose(filter_bank_features(gray), filter_bank_features(gray.repeat(3, -1)))
    assert filter_bank_features(target).shape == (24, 162)
    assert takes((None, 12, None, 1))
    assert not takes((None, 11, 32, 3))
    assert not takes((None, 32, 32, 7))


def test_light_that_turns_around_is_negative():
    images = crops(0)
    assert light_correlation(images, images**2) > 0.8
    assert light_correlation(images, 1 - images) == pytest.approx(-1, abs=1e-4)
    assert light_correlation(images, np.ones_like(images)) == 0


def scaling(factor: float) -> keras.Model:
    """A generator that multiplies pictures."""
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(3, 1, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([factor * np.eye(3, dtype=np.float32)[None, None]])
    return model


def test_a_negative_is_warned_of_once_and_the_distance_is_logged():
    options = {"filters": 4, "downsamplings": 2, "norm": "none"}
    model = CycleGAN(32, generator_a2b=scaling(-1.0), generator_b2a=scaling(0.9), discriminator_options=options)
    model.compile(keras.optimizers.SGD(1e-6), keras.optimizers.SGD(1e-6))
    batches = [{"a": crops(0) * 2 - 1, "b": crops(1) * 2 - 1}]
    watch = TranslationWatch(batches, distance, every=2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        history = model.fit(batches[0], batch_size=24, epochs=3, callbacks=[watch], verbose=0).history
    texts = [str(w.message) for w in said if "makes light what was dark" in str(w.message)]
    assert len(texts) == 1
    assert "After epoch 2 the translation a2b" in texts[0]
    assert history["identity_b"][-1] > 0.5  # large, but it has not risen: the other warning's business
    assert not [w for w in said if "drift" in str(w.message)]
    assert len(history["val_kernel"]) == 2  # after the second epoch and the last
    expected = np.mean([distance(1 - crops(0), crops(1)), distance(0.9 * crops(1) + 0.05, crops(0))])
    assert history["val_kernel"][0] == pytest.approx(expected, rel=1e-2)

    known = TranslationWatch([{**batches[0], "truth_b": batches[0]["a"]}], None)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(batches[0], batch_size=24, callbacks=[known], verbose=0)
    assert not [w for w in said if "makes light what was dark" in str(w.message)]


RISING = [0.30, 0.20, 0.12, 0.15, 0.19, 0.24, 0.31]


@pytest.mark.parametrize(
    ("errors", "lowest"),
    [
        (RISING, 2),
        ([0.08, 0.2, 0.2, 0.2], 0),
        (RISING[:-1], None),  # the last but two is not yet 1.5 times the lowest
        ([0.2, 0.1, 0.3, 0.3], None),  # two epochs
        ([0.2, 0.1, 0.3, 0.3, 0.14], None),  # and back again
        ([0.3, 0.3, 0.3], None),
        ([], None),
        # Healthy ones: falling, swaying by a fifth, and a residual that leaves the identity it began with.
        ([0.9, 0.5, 0.35, 0.3, 0.28, 0.27, 0.26, 0.26], None),
        ([0.5, 0.3, 0.2, 0.24, 0.2, 0.23, 0.24, 0.22, 0.24], None),
        ([0.0, 0.02, 0.05, 0.07, 0.08, 0.08], None),
        # Measured: cyclegan_photo_dusk with lambda_identity 0.5, six epochs, while PSNR went from 19.3 to 21.6 dB.
        ([0.0340, 0.0489, 0.0565, 0.0389, 0.0253, 0.0186], None),
        ([0.0340, 0.0489, 0.0565, 0.0565], None),  # had it stopped falling
    ],
)
def test_an_identity_error_that_has_risen(errors, lowest):
    assert risen_from(errors) == lowest


def test_colors_that_drift_are_warned_of_once():
    model = CycleGAN(32, generator_a2b=scaling(1.0), generator_b2a=scaling(1.0), discriminator_options={"filters": 4})
    batches = [{"a": crops(0)[:2] * 2 - 1, "b": crops(1)[:2] * 2 - 1}]
    rows = [{"identity_a": 0.1, "identity_b": error} for error in [*RISING, 0.4, 0.5]]

    def warned(batches: list, rows: list[dict], before: list[dict]) -> list[str]:
        watch = TranslationWatch(batches, None, before=before)
        watch.set_model(model)
        watch.set_params({"epochs": len(before) + len(rows)})
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for epoch, row in enumerate(rows, len(before)):
                watch.on_epoch_end(epoch, dict(row))
        return [str(w.message) for w in said]

    [text] = warned(batches, rows, [])
    assert text.startswith("After epoch 7 the translation a2b changes pictures that are as they should be")
    assert "identity_b 0.31, after 0.12 in epoch 3" in text
    assert "a larger lambda_identity" in text
    # A training that goes on remembers what was the lowest.
    assert warned(batches, rows[4:], rows[:4]) == [text]
    # Where the truth is known, PSNR says it better; where the weight is 0, there is nothing to look at.
    assert warned([{**batches[0], "truth_b": batches[0]["b"]}], rows, []) == []
    assert warned(batches, [{"cycle_a": 0.1}] * 9, []) == []
