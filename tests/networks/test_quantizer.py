"""The codebook against NumPy: nearest codes, gradients, averages, dead codes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.networks import VectorQuantizer

RANDOM = np.random.default_rng(0)
Z = RANDOM.normal(size=(3, 4, 5, 2)).astype("float32")


def quantizer(codes: int = 6, **options) -> VectorQuantizer:
    layer = VectorQuantizer(codes, **options)
    layer.build(Z.shape)
    layer.codebook.assign(np.random.default_rng(1).normal(size=(codes, 2)))
    return layer


def numpy_nearest(z: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    return np.linalg.norm(z[..., None, :].astype("float64") - codebook, axis=-1).argmin(axis=-1)


def numpy_statistics(z: np.ndarray, codebook: np.ndarray, weight: np.ndarray | None = None):
    weight = np.ones(len(z)) if weight is None else weight
    uses, sums = np.zeros(len(codebook)), np.zeros(codebook.shape)
    for example, w in zip(z, weight, strict=True):
        for latent in example.reshape(-1, z.shape[-1]):
            chosen = numpy_nearest(latent, codebook)
            uses[chosen] += w
            sums[chosen] += w * latent
    return uses, sums


def test_each_latent_becomes_its_nearest_code():
    layer = quantizer()
    codebook = layer.codebook.numpy()
    codes = numpy_nearest(Z, codebook)
    assert len(np.unique(codes)) > 2
    np.testing.assert_array_equal(layer.nearest(Z), codes)
    np.testing.assert_allclose(layer(Z), codebook[codes], atol=1e-6)
    squared = ((Z[..., None, :] - codebook) ** 2).sum(axis=-1)
    np.testing.assert_allclose(layer.distances(Z), squared - (Z**2).sum(axis=-1, keepdims=True), atol=1e-5)


def test_the_gradient_goes_straight_through():
    layer, weights = quantizer(learner="gradient"), RANDOM.normal(size=Z.shape).astype("float32")
    z = tf.constant(Z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = tf.reduce_sum(layer(z) * weights)
    to_z, to_codebook = tape.gradient(value, [z, layer.codebook.value])
    np.testing.assert_allclose(to_z, weights, atol=1e-6)
    assert to_codebook is None


@pytest.mark.parametrize("weight", [None, np.float32([1.0, 0.0, 2.5])])
def test_averages_are_means_of_the_latents_and_a_dead_code_stays(weight):
    """Three steps without restarts; the last code is far from everything."""
    layer = quantizer(decay=0.8, restart_below=0.0)
    start = layer.codebook.numpy()
    start[-1] = 50.0
    layer.codebook.assign(start)
    codebook, uses, sums = start.astype("float64"), np.zeros(6), np.zeros((6, 2))
    for step in range(3):
        z = Z + np.float32(0.1 * step)
        found = layer.statistics(z, weight)
        new_uses, new_sums = numpy_statistics(z, layer.codebook.numpy(), weight)
        np.testing.assert_allclose(found[0], new_uses, atol=1e-5)
        np.testing.assert_allclose(found[1], new_sums, atol=1e-4)
        layer.follow(*found, np.zeros((6, 2), "float32"))
        uses, sums = 0.8 * uses + 0.2 * new_uses, 0.8 * sums + 0.2 * new_sums
        known = uses > 1e-6
        codebook[known] = sums[known] / uses[known, None]
        np.testing.assert_allclose(layer.codebook, codebook, atol=1e-5)
    assert uses[-1] == 0
    np.testing.assert_array_equal(layer.codebook.numpy()[-1], [50.0, 50.0])  # and not 1,000 times as long


def test_a_code_that_dies_slowly_keeps_its_place():
    layer = quantizer(decay=0.5, restart_below=0.0)
    layer.follow(*layer.statistics(Z), np.zeros((6, 2), "float32"))
    once = layer.codebook.numpy()
    nothing = np.zeros(6, "float32"), np.zeros((6, 2), "float32")
    for _ in range(200):  # until its average has come to nothing
        layer.follow(*nothing, np.zeros((6, 2), "float32"))
    np.testing.assert_allclose(layer.codebook, once, atol=1e-4)


@pytest.mark.parametrize("learner", ["ema", "gradient"])
def test_dead_codes_begin_anew_at_a_latent(learner):
    layer = quantizer(learner=learner, decay=0.8, restart_below=0.1)
    start = layer.codebook.numpy()
    start[[1, 4]] = 50.0, -50.0
    layer.codebook.assign(start)
    latents = RANDOM.normal(size=(6, 2)).astype("float32")
    uses, sums = numpy_statistics(Z, start)
    uses, sums = 0.2 * uses, 0.2 * sums
    dead = uses < 0.1 * uses.mean()
    assert dead.tolist() == [False, True, False, False, True, False]
    layer.follow(*layer.statistics(Z), latents)
    moved = start if learner == "gradient" else sums / np.maximum(uses, 1e-9)[:, None]
    np.testing.assert_allclose(layer.codebook, np.where(dead[:, None], latents, moved), atol=1e-5)
    np.testing.assert_allclose(layer.uses, np.where(dead, uses.mean(), uses), atol=1e-5)
    # It has the average use, and so some steps to find latents of its own.
    layer.follow(np.zeros(6, "float32"), np.zeros((6, 2), "float32"), np.full((6, 2), 9.0, "float32"))
    np.testing.assert_allclose(layer.codebook.numpy()[dead], latents[dead], atol=1e-5)


def test_it_comes_back_from_its_configuration():
    layer = quantizer(learner="gradient", decay=0.5, restart_below=0.2)
    again = VectorQuantizer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert layer.trainable_variables == [layer.codebook]
    assert not quantizer().trainable_variables


@pytest.mark.parametrize("options", [{"learner": "adam"}, {"codes": 1}, {"decay": 1.0}, {"restart_below": -0.1}])
def test_arguments_that_do_not_fit_are_refused(options):
    with pytest.raises(UserError):
        VectorQuantizer(**{"codes": 4, **options})


def test_nearest_codes_are_found_in_float32():
    """In bfloat16 the two codes would be one number."""
    layer = VectorQuantizer(2, dtype="mixed_bfloat16")
    layer.build((None, None, None, 1))
    layer.codebook.assign([[256.0], [256.75]])
    z = np.float32([256.1, 256.7]).reshape(1, 1, 2, 1)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.nearest(z)).ravel(), [0, 1])
