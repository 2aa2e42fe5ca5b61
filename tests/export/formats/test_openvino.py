"""What only OpenVINO can get wrong."""

import multiprocessing
import subprocess
import sys

import keras

from kerasgen.export import export_model

_RECEIVED = """
import sys
from kerasgen.export.formats import openvino

assert openvino.import_runtime().Core
assert sys.modules.get("openvino_telemetry") is None, "it would send messages"
"""


def test_its_telemetry_is_not_even_imported():
    subprocess.run([sys.executable, "-c", _RECEIVED], check=True)


def test_an_export_forks_nothing_and_sends_nothing(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(multiprocessing.Process, "start", begun.append)
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3)])
    export_model(network, tmp_path / "net", "openvino", "weight_int8")
    assert not begun
