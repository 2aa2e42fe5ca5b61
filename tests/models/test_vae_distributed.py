"""Two replicas of tf.distribute train the VAE as one device does."""

from pathlib import Path

import pytest

# One strategy a process; two logical CPUs stand for two devices.
SCRIPT = """
import sys
import keras, numpy as np, tensorflow as tf
from sklearn.datasets import load_digits
from kerasgen.models import VAE

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
options = eval(sys.argv[1])
data = load_digits()
batch = {"image": (data.images[:128, :, :, None] / 16).astype("float32"), "label": data.target[:128].astype("int32")}

def trained():
    keras.utils.set_random_seed(0)
    vae = VAE((8, 8, 1), 4, filters=(8, 8), hidden_units=16, num_classes=10, **options)
    # The replicas draw other noise than one device: it is made too small to matter, so that all else can be compared.
    head = vae.encoder.get_layer("z_log_var")
    head.kernel.assign(tf.zeros_like(head.kernel))
    head.bias.assign(-25.0 * tf.ones_like(head.bias))
    vae.compile(optimizer=keras.optimizers.SGD(1e-3))
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(32)
    history = vae.fit(dataset, epochs=1, shuffle=False, verbose=0).history
    result = vae.evaluate(dataset, return_dict=True, verbose=0)
    logs = {name: values[-1] for name, values in history.items()}
    logs |= {"val_" + name: value for name, value in result.items()}
    return [w.numpy() for w in vae.weights], logs

one, one_logs = trained()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    two, two_logs = trained()
for a, b in zip(one, two):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
for name in one_logs:
    np.testing.assert_allclose(one_logs[name], two_logs[name], rtol=1e-4, err_msg=name)
assert not np.allclose(one[0], 0)
print("equal", one_logs)
"""


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"likelihood": "gaussian", "sigma": "optimal"}, marks=pytest.mark.slow),
        pytest.param({"likelihood": "gaussian", "sigma": "learned", "free_bits": 12.0}, marks=pytest.mark.slow),
    ],
    ids=["bernoulli", "optimal-sigma", "learned-sigma-free-bits"],
)
def test_two_replicas_equal_one_device(warm, options):
    result = warm.run("-W", "ignore", "-c", SCRIPT, repr(options), cwd=Path(__file__).parent)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.startswith("equal")


@pytest.mark.slow
def test_replicas_draw_different_noise(warm):
    script = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from kerasgen.layers import Sampling
from kerasgen.models.base import ReplicaSeedGenerator

alone = Sampling(ReplicaSeedGenerator(7))([tf.zeros([1, 3])] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = Sampling(ReplicaSeedGenerator(7))
draws = strategy.run(lambda: layer([tf.zeros([1, 3])] * 2)).values
assert tf.reduce_all(draws[0] == alone), (draws, alone)
assert tf.reduce_all(draws[0] != draws[1]), draws
"""
    result = warm.run("-W", "ignore", "-c", script)
    assert result.returncode == 0, result.stderr[-3000:]
