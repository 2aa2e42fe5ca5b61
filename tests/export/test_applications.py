"""Networks of keras.applications in every format, with random weights and random statistics in their norms."""

import keras
import numpy as np
import pytest
from keras import applications

from kerasgen.export.contract.signature import model_signature
from kerasgen.export.formats import onnx, saved_model, tflite
from kerasgen.export.formats.onnx.traversal import emit
from kerasgen.export.formats.registry import Request
from kerasgen.export.gate.gate import psnr

from .networks import randomize

NETWORKS = (
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "DenseNet121"),
    *("NASNetMobile", "ResNet50", "ResNet50V2", "Xception", "InceptionV3", "ConvNeXtTiny"),
)
FORMATS = {"saved_model": saved_model, "tflite": tflite, "onnx": onnx}
SIDE = 96
# All 12 went through all of these once; here one network has each cell, because the large ones take minutes.
FULLY = [
    ("MobileNetV2", "saved_model", "float32"),
    *(("MobileNetV2", "tflite", variant) for variant in ("float32", "float16", "dynamic_int8")),
    *(("MobileNetV2", "onnx", variant) for variant in ("float32", "float16", "dynamic_int8")),
]


def application(name: str) -> keras.Model:
    """Return a classifier as after a training, as far as its norms go."""
    keras.utils.set_random_seed(0)
    model = getattr(applications, name)(weights=None, input_shape=(SIDE, SIDE, 3), classes=10)
    randomize(model, np.random.default_rng(0))
    return model


def pictures(batch: int = 2) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (batch, SIDE, SIDE, 3)).astype("float32")


def exported(model, module, variant, folder):
    """Return what an artifact gives in its own runtime, and what Keras does, for one picture."""
    signature = model_signature(model)
    (name,) = signature.inputs
    sent = {name: pictures(1)}
    module.export(Request({"serving_default": signature}, variant, sent), folder / "net")
    (found,) = module.load(str(folder / "net"), 1).run("serving_default", sent).values()
    (expected,) = signature.reference(sent).values()
    return found, expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "format", "variant"), FULLY)
def test_a_network_equals_keras_in_its_own_runtime(name, format, variant, tmp_path):
    found, expected = exported(application(name), FORMATS[format], variant, tmp_path)
    if variant == "float32":
        np.testing.assert_allclose(found, expected, atol=1e-4)
    else:
        assert psnr(found, expected) >= {"float16": 60, "dynamic_int8": 33}[variant]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_written_directly_as_onnx(name):
    """Whether every layer has a handler of its own, and gives what Keras gives."""
    import onnxruntime

    model = application(name)
    signature = model_signature(model)
    session = onnxruntime.InferenceSession(emit(signature).SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, dict.fromkeys(signature.inputs, pictures()))
    np.testing.assert_allclose(found, model(pictures(), training=False), atol=1e-4)
