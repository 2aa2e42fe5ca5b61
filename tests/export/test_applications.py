"""Networks of keras.applications in every format, with random weights and random statistics in their norms."""

import keras
import numpy as np
import pytest
from keras import applications

from kerasgen.export import export_model
from kerasgen.export.contract.signature import model_signature
from kerasgen.export.formats.onnx.traversal import emit

from .networks import randomize

NETWORKS = (
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "DenseNet121"),
    *("NASNetMobile", "ResNet50", "ResNet50V2", "Xception", "InceptionV3", "ConvNeXtTiny"),
)
SIDE = 96
# All 12 went through all of these on 2026-11-27; here one network has each cell, because the large ones take minutes.
FULLY = [
    ("MobileNetV2", "saved_model", "float32"),
    *(("MobileNetV2", "tflite", variant) for variant in ("float32", "float16", "dynamic_int8")),
    *(("MobileNetV2", "onnx", variant) for variant in ("float32", "float16", "dynamic_int8")),
]


def application(name: str) -> keras.Model:
    """Return a classifier as after a training, as far as its norms go."""
    keras.utils.set_random_seed(0)
    options = {"weights": None, "classes": 10, "classifier_activation": None}
    model = getattr(applications, name)(input_shape=(SIDE, SIDE, 3), **options)
    randomize(model, np.random.default_rng(0))
    return model


def pictures(batch: int = 2) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (batch, SIDE, SIDE, 3)).astype("float32")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "format", "variant"), FULLY)
def test_a_network_passes_the_gate(name, format, variant, tmp_path):
    """Converters fold the norms of these into the kernels: the check of the weights must know it."""
    artifact = export_model(application(name), tmp_path / "net", format, variant, inputs=pictures())
    assert artifact.parity["checks"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_written_directly_as_onnx(name):
    """Whether every layer has a handler of its own, and gives what Keras gives."""
    import onnxruntime

    model = application(name)
    signature = model_signature(model)
    session = onnxruntime.InferenceSession(emit(signature).SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, dict.fromkeys(signature.inputs, pictures()))
    expected = model(pictures(), training=False).numpy()
    assert expected.std() > 0.01  # of scores that say nothing, all would be equal
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))
