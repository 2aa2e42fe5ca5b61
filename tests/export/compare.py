"""Artifacts in their own runtimes, in this process: quicker than `export_model`, and the same graphs."""

from pathlib import Path

import keras
import numpy as np

from kerasgen.export.contract.inputs import network_and_inputs
from kerasgen.export.formats import onnx, saved_model, tflite
from kerasgen.export.formats.registry import Request

FORMATS = {"onnx": onnx, "tflite": tflite, "saved_model": saved_model}


def assert_equal_in(formats, model: keras.Model, inputs: dict[str, np.ndarray], folder: Path) -> None:
    """Write a model's float32 artifact in each format, run it on the inputs, and compare with Keras."""
    signature, arrays = network_and_inputs(model, inputs)
    for name in formats:
        path = folder / f"network_{name}"
        FORMATS[name].export(Request({"serving_default": signature}, "float32", arrays), path)
        # TFLite's files are for one example.
        some = {key: value[:1] for key, value in arrays.items()} if name == "tflite" else arrays
        found = FORMATS[name].load(str(path), 1).run("serving_default", some)
        for key, expected in signature.reference(some).items():
            limit = 1e-4 * max(1.0, float(np.abs(expected).max(initial=0)))
            np.testing.assert_allclose(found[key], expected, atol=limit, rtol=0, err_msg=f"{name} {key}")
