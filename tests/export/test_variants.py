"""TFLite with rounded weights: smaller files, as near to Keras as the gate demands."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from kerasgen.export import GateError, export_model, verify
from kerasgen.export.formats import tflite
from kerasgen.export.gate.parity import psnr
from kerasgen.networks import resnet_generator


@pytest.fixture(scope="module")
def generator():
    keras.utils.set_random_seed(0)
    return resnet_generator(filters=16, blocks=2)


def photos(n):
    return np.random.default_rng(0).uniform(-1, 1, (n, 32, 32, 3)).astype("float32")


# Norms that hold in 16 bits take a dozen operators more each, 1% of this small network's file.
@pytest.mark.parametrize(("variant", "share", "least"), [("float16", 0.56, 60), ("dynamic_int8", 0.35, 33)])
def test_a_rounded_variant_is_small_and_near(generator, variant, share, least, tmp_path):
    artifact = export_model(generator, tmp_path / "net", format="tflite", variant=variant, inputs=photos(2))
    assert artifact.path.name == f"net.{variant}.tflite"
    raw = sum(weight.numpy().nbytes for weight in generator.weights)
    assert artifact.bytes <= share * raw
    report = verify(artifact.path, generator, photos(3))
    assert report.passed, report.checks
    assert f"(least {least} dB)" in next(check.found for check in report.checks if check.name == "parity")
    assert 1e-6 < report.max_difference < 0.5


def test_a_variant_that_is_too_far_is_not_published(generator, tmp_path, monkeypatch):
    strict = tuple(replace(v, least_psnr=90.0) if v.rounded else v for v in tflite.FORMAT.variants)
    monkeypatch.setattr(tflite, "FORMAT", replace(tflite.FORMAT, variants=strict))
    with pytest.raises(GateError, match=r"parity: .* dB from the float32 form"):
        export_model(generator, tmp_path / "net", format="tflite", variant="dynamic_int8", inputs=photos(2))
    assert not list(tmp_path.iterdir())


def test_psnr_is_the_formula():
    expected = np.array([0.0, 1.0, 2.0])
    found = expected + np.array([0.1, -0.1, 0.1])
    assert psnr(found, expected) == pytest.approx(20 * np.log10(2 / 0.1))


@pytest.mark.parametrize("variant", ["float16", "static_int8"])
@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_recurrent_networks_whose_weights_lie_in_loops(format, variant, tmp_path):
    steps, layers = keras.Input((12, 6)), keras.layers
    x = layers.Bidirectional(layers.GRU(8, return_sequences=True))(steps)
    network = keras.Model(steps, layers.Dense(3)(layers.LSTM(8)(x)))
    series = np.random.default_rng(0).normal(size=(24, 12, 6)).astype("float32")
    options = {"calibration": series[:16]} if variant == "static_int8" else {}
    artifact = export_model(network, tmp_path / "net", format, variant, inputs=series[16:], **options)
    assert artifact.variant == variant
