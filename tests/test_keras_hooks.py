"""Private names of Keras, TensorFlow and LiteRT: each is asserted, and without one the import says so."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from kerasgen.errors import UserError
from kerasgen.keras_hooks import TESTED, gpu_memory

# argv: the class that has the attribute, its name, and what must then fail.
RENAMED = """
import sys
import keras
from ai_edge_litert.interpreter import Interpreter
owner, name, use = sys.argv[1:]
owner = eval(owner)
owner = next(cls for cls in owner.__mro__ if name in vars(cls))
setattr(owner, name + "_of_another_version", getattr(owner, name))
delattr(owner, name)
try:
    exec(use)
except ValueError as error:
    print(type(error).__name__, error)
"""
MODELS = "import kerasgen.models"
EXPORT = "from kerasgen.keras_hooks import require_export_hooks; require_export_hooks()"
LITERT = "from kerasgen.keras_hooks import require_litert_hooks; require_litert_hooks()"


@pytest.mark.parametrize(
    ("owner", "name", "use"),
    [
        ("keras.optimizers.Optimizer", "_all_reduce_sum_gradients", MODELS),
        pytest.param("keras.Model", "_make_function", MODELS, marks=pytest.mark.slow),
        pytest.param("keras.Model", "_maybe_symbolic_build", MODELS, marks=pytest.mark.slow),
        pytest.param("keras.Model", "_flatten_layers", EXPORT, marks=pytest.mark.slow),
        pytest.param("Interpreter", "_get_ops_details", LITERT, marks=pytest.mark.slow),
    ],
)
def test_without_a_private_name_the_import_says_which_versions_were_tested(owner, name, use):
    command = [sys.executable, "-W", "ignore", "-c", RENAMED, owner, name, use]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    package = "ai-edge-litert" if owner == "Interpreter" else "keras"
    assert result.stdout.startswith(f"UserError {package} {version(package)} doesn't have ")
    assert f"{name}, by which kerasgen " in result.stdout
    assert result.stdout.endswith(f"`pip install '{package}~={TESTED[package]}.0'`.\n")


def test_without_tensorflows_list_of_devices_a_gpus_memory_is_one_sentence(monkeypatch):
    from tensorflow.python.client import device_lib

    [cpu] = [device for device in device_lib.list_local_devices() if device.device_type == "CPU"]
    assert cpu.memory_limit > 0
    monkeypatch.delattr(device_lib, "list_local_devices")
    with pytest.raises(UserError, match=r"tensorflow .* doesn't have .*list_local_devices, by which kerasgen knows"):
        gpu_memory()


DEVICES = """
import tensorflow as tf
import kerasgen.models
from kerasgen.export import export_model
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from kerasgen.keras_hooks import TRAINING, _set_by_constructors
import keras
assert hasattr(_set_by_constructors(keras.optimizers.Optimizer), "_trainable_variables")
assert not hasattr(_set_by_constructors(keras.optimizers.Optimizer), "_trained_variables")
assert hasattr(keras.optimizers.SGD(), "_trainable_variables")
"""


def test_the_checks_leave_the_devices_to_the_user():
    subprocess.run([sys.executable, "-W", "ignore", "-c", DEVICES], check=True)


@pytest.mark.parametrize("package", TESTED)
def test_the_installed_and_the_pinned_versions_are_those_that_were_tested(package):
    assert version(package).startswith(f"{TESTED[package]}.")
    pinned = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert f'"{package}~={TESTED[package]}.0"' in pinned
