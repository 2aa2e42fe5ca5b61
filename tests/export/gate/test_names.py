"""Tensors pass to the fresh process and back by their names, whatever these are."""

import keras
import numpy as np

from kerasgen.export import export_model
from kerasgen.export.gate.runtime import load_arrays, save_arrays


def test_a_tensor_may_be_called_as_an_argument_of_numpy(tmp_path):
    x = keras.Input((3,), name="file")
    network = keras.Model({"file": x}, {"allow_pickle": keras.layers.Dense(2)(x)})
    artifact = export_model(network, tmp_path / "net", format="onnx")
    assert artifact.parity["max_difference"] <= 1e-4
    assert list(artifact.signatures["serving_default"]["outputs"]) == ["allow_pickle"]


def test_arrays_of_every_kind_come_back(tmp_path):
    given = {
        "file": np.array([[1.5, -2.0]], "float32"),
        "n": np.array(3, "int32"),
        "files_bytes": np.array([b"\x89PNG", b"\xff\xd8"], "S"),
        **{f"z_{i}": np.full(2, i, "uint8") for i in range(12)},
    }
    save_arrays(tmp_path / "arrays.npz", given)
    found = load_arrays(tmp_path / "arrays.npz")
    assert list(found) == list(given)
    for name, value in given.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)
