"""Random functional networks in every format: each equals Keras, in the format's own runtime.

`KERASGEN_NETWORKS=300 pytest -m slow -n 0 tests/export/test_random_networks.py` tries 300.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from kerasgen.export.contract.inputs import network_and_inputs
from kerasgen.export.formats import onnx, saved_model, tflite
from kerasgen.export.formats.registry import Request

from .networks import example, random_network

COUNT = int(os.environ.get("KERASGEN_NETWORKS", "60"))
FORMATS = {"onnx": onnx, "tflite": tflite, "saved_model": saved_model}


@pytest.fixture(scope="module")
def networks():
    """Keep the last network, which the three formats take one after the other."""
    kept = {}

    def make(seed):
        if seed not in kept:
            kept.clear()
            kept[seed] = random_network(seed)
        return kept[seed]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(COUNT))
def test_a_random_network_equals_keras_in_every_format(seed, tmp_path):
    model = random_network(seed)
    signature, arrays = network_and_inputs(model, example(model, 2, seed))
    for name, module in FORMATS.items():
        path = Path(tmp_path, f"network{module.FORMAT.suffix}")
        sent = signature.examples(arrays)
        module.export(Request({"serving_default": signature}, "float32", sent), path)
        some = {key: value[:1] for key, value in sent.items()} if name == "tflite" else sent
        found = module.load(str(path), 1).run("serving_default", some)
        for key, expected in signature.reference(some).items():
            limit = 1e-4 * max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(found[key], expected, atol=limit, rtol=0, err_msg=f"{name} {key}")
