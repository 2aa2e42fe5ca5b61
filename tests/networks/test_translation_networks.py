import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kerasgen.errors import UserError
from kerasgen.networks import patchgan, pixel_discriminator, resnet_generator, unet_generator

SMALL = {"filters": 4, "blocks": 1}


@pytest.mark.parametrize(
    ("build", "options", "parameters"),
    [
        (resnet_generator, {}, 11_378_179),
        (resnet_generator, {"blocks": 6}, 7_837_699),
        (patchgan, {}, 2_764_737),
        (unet_generator, {}, 54_413_955),
        (unet_generator, {"downsamplings": 7}, 41_828_995),
    ],
)
def test_parameters_of_the_published_networks(build, options, parameters):
    network = build(**options)
    assert sum(np.prod(variable.shape, dtype=int) for variable in network.trainable_variables) == parameters


def test_patchgan_gives_30_by_30_logits_at_256():
    assert patchgan(filters=4)(np.zeros((1, 256, 256, 3), "float32")).shape == (1, 30, 30, 1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("options", [{}, {"upsampling": "resize"}, {"residual": True}, {"norm": "none"}])
def test_resnet_keeps_the_size_of_the_image(channels, options):
    images = np.random.default_rng(0).uniform(-1, 1, (2, 20, 28, channels)).astype("float32")
    outputs = resnet_generator(channels, **SMALL, **options)(images)
    assert outputs.shape == images.shape
    if "residual" in options:
        np.testing.assert_array_equal(outputs, images)  # it starts as the identity
    else:
        assert np.abs(outputs).max() <= 1


@pytest.mark.parametrize("build", [resnet_generator, unet_generator, patchgan])
def test_initial_weights_are_the_papers_and_differ_between_layers(build):
    kernels = [w.numpy() for w in build(filters=32).trainable_variables if w.name == "kernel" and w.shape[-1] > 3]
    kernels = [k for k in kernels if k.size > 10_000]
    for kernel in kernels:
        np.testing.assert_allclose([kernel.mean(), kernel.std()], [0, 0.02], atol=1e-3)
    starts = {float(kernel.ravel()[0]) for kernel in kernels}
    assert len(starts) == len(kernels)


def test_mixed_precision_ends_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        networks = [resnet_generator(**SMALL), resnet_generator(**SMALL, residual=True), patchgan(filters=4)]
    finally:
        keras.config.set_dtype_policy("float32")
    for network in networks:
        assert network(np.zeros((1, 32, 32, 3), "float32")).dtype == "float32"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: resnet_generator(norm="layer"), "norm='layer'"),
        (lambda: resnet_generator(65), "65 channels"),
        (lambda: resnet_generator(upsampling="pixelshuffle"), "upsampling='pixelshuffle'"),
        (lambda: resnet_generator(1, 3, residual=True), "same number of channels"),
        (lambda: resnet_generator(stem_kernel=4), "stem_kernel=4"),
        (lambda: unet_generator(downsamplings=1), "downsamplings=1"),
        (lambda: patchgan(downsamplings=0), "downsamplings=0"),
        (lambda: pixel_discriminator(65), "65 channels"),
    ],
)
def test_wrong_arguments_get_one_sentence(call, words):
    with pytest.raises(UserError, match=words):
        call()


@pytest.mark.slow
def test_a_trained_network_runs_under_another_backend(tmp_path):
    images = np.random.default_rng(0).uniform(-1, 1, (1, 16, 16, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    network = resnet_generator(**SMALL, norm="batch")
    network.save(tmp_path / "batch.keras")
    other = resnet_generator(**SMALL)
    other.save(tmp_path / "instance.keras")
    script = """
import sys, numpy as np, keras, kerasgen.layers
for norm in ("batch", "instance"):
    network = keras.models.load_model(f"{sys.argv[1]}/{norm}.keras")
    outputs = network(np.load(f"{sys.argv[1]}/images.npy"), training=False)
    np.save(f"{sys.argv[1]}/{norm}.npy", keras.ops.convert_to_numpy(outputs))
assert "tensorflow" not in sys.modules
"""
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=True)
    for norm, expected in (("batch", network), ("instance", other)):
        np.testing.assert_allclose(np.load(tmp_path / f"{norm}.npy"), expected(images, training=False), atol=1e-4)
