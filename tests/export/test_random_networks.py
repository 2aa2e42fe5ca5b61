"""Random functional networks in every format: each equals Keras, in the format's own runtime.

`KERASGEN_NETWORKS=300 pytest -m slow tests/export/test_random_networks.py` tries 300.
"""

import os

import pytest

from .compare import FORMATS, assert_equal_in
from .networks import STEPS, example, random_network

COUNT = int(os.environ.get("KERASGEN_NETWORKS", "60"))
QUICK = 12
# TensorFlow's converter takes seconds for each.
THOROUGH = COUNT if COUNT > 60 else 20


@pytest.mark.parametrize("seed", range(QUICK))
def test_a_random_network_equals_keras_in_onnx(seed, tmp_path):
    model = random_network(seed)
    assert_equal_in(["onnx"], model, example(model, 2, seed), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(QUICK, COUNT))
def test_more_random_networks_equal_keras(seed, tmp_path):
    model = random_network(seed)
    formats = FORMATS if seed < QUICK + THOROUGH else ["onnx", "saved_model"]
    assert_equal_in(formats, model, example(model, 2, seed), tmp_path)


def test_the_same_seed_writes_the_same_network():
    first, second = random_network(5), random_network(5)
    assert [o.name for o in first.operations] == [o.name for o in second.operations]
    assert all((a == b).all() for a, b in zip(first.get_weights(), second.get_weights(), strict=True))
    assert len(STEPS) > 15
