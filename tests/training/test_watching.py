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
from kerasgen.training.watching import TranslationWatch, light_correlation


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
    assert len(history["val_kernel"]) == 2  # after the second epoch and the last
    expected = np.mean([distance(1 - crops(0), crops(1)), distance(0.9 * crops(1) + 0.05, crops(0))])
    assert history["val_kernel"][0] == pytest.approx(expected, rel=1e-2)

    known = TranslationWatch([{**batches[0], "truth_b": batches[0]["a"]}], None)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(batches[0], batch_size=24, callbacks=[known], verbose=0)
    assert not [w for w in said if "makes light what was dark" in str(w.message)]
