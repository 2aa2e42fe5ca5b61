"""Two replicas, and two processes, train as one device does at the same global batch; and how they fail.

Plain SGD on two replicas is `conformance/test_models.py`'s; here are the optimizers that know of replicas.
"""

import functools
import json
import os
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kerasgen.errors import UserError
from kerasgen.training.distribute import get_strategy

FOUR_STEPS = Path(__file__).with_name("replicas.py")
PLAIN = {"learning_rate": 1e-3}
# The norms are above the clipping in each step, and the averages start anew and move.
CLIPPED = {**PLAIN, "global_clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.9, "momentum": 0.9}
TOGETHER = {**PLAIN, "momentum": 0.9, "steps_per_execution": 2}
ACCUMULATED = {**PLAIN, "clipvalue": 0.01, "scaled": True, "gradient_accumulation_steps": 2}


def two_free_ports() -> list[int]:
    with socket.socket() as a, socket.socket() as b:
        for free in (a, b):
            free.bind(("127.0.0.1", 0))
        return [a.getsockname()[1], b.getsockname()[1]]


def run_workers(warm, *arguments) -> list[subprocess.CompletedProcess]:
    """Two processes side by side, with the same arguments and each its TF_CONFIG."""
    hosts = [f"127.0.0.1:{port}" for port in two_free_ports()]

    def run(index: int) -> subprocess.CompletedProcess:
        config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        return warm.run("-W", "ignore", *arguments, env=environment, seconds=200)

    with ThreadPoolExecutor(2) as both:
        return list(both.map(run, range(2)))


@functools.cache
def four_steps(warm, model: str, devices: str, options: str) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        arguments = (FOUR_STEPS, model, devices, options, Path(folder) / "result.npz")
        if devices == "workers":
            results = run_workers(warm, *arguments)
            assert [result.returncode for result in results] == [0, 0], results[0].stderr[-3000:]
        else:
            result = warm.run("-W", "ignore", *arguments)
            assert result.returncode == 0, result.stderr[-3000:]
        with np.load(Path(folder) / "result.npz") as archive:
            return {name: archive[name] for name in archive.files}


def far(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.linalg.norm(a - b) > 1e-5 * np.linalg.norm(b) + 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "devices", "options"),
    [
        ("conditional_vae", "two", CLIPPED),
        ("conditional_vae", "two", ACCUMULATED),
        ("vae", "two", TOGETHER),
        ("vae", "workers", TOGETHER),
        ("conditional_vae", "workers", CLIPPED),
        ("cyclegan", "two", CLIPPED),
        ("cyclegan", "workers", CLIPPED),
        ("cyclegan_checkpoint", "two", CLIPPED),
        ("cyclegan_alternating", "two", ACCUMULATED),
        ("cyclegan_alternating", "workers", CLIPPED),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, list(value)[1:3])) or "plain",
)
def test_two_equal_one(warm, model, devices, options):
    one, two = four_steps(warm, model, "one", repr(options)), four_steps(warm, model, devices, repr(options))
    assert one.keys() == two.keys()
    # Workers share the examples of an evaluation otherwise, and its noise depends on their places.
    noisy = {f"log val_{name}" for name in ("loss", "reconstruction_loss", "elbo")} if devices == "workers" else set()
    assert [name for name in one if far(two[name], one[name]) and name not in noisy] == []
    if options != PLAIN:
        plain = four_steps(warm, model, "one", repr(PLAIN))
        assert any(name in plain and far(plain[name], one[name]) for name in one)


INFINITY = """
import sys, keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from kerasgen.models import VAE
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    vae = VAE((8, 8, 1), 2, filters=(4,), hidden_units=8)
    vae.compile(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-2)))
images = np.full((3, 8, 8, 8, 1), 0.5, "float32")
images[1, 5] = np.inf  # in the second step, on the second replica alone
before, weights = [np.array(w) for w in vae.trainable_weights], []
class Watch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        values = [v for w in vae.trainable_weights for v in w.value.values]
        weights.append([v.numpy() for v in values])
data = tf.data.Dataset.from_tensor_slices({"image": images})
vae.fit(data, epochs=1, verbose=0, shuffle=False, callbacks=[Watch()])
for first, second, third in zip(*weights):
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(third).all()
assert any((a != b).any() for a, b in zip(weights[1], weights[2]))
for step in weights:
    for one, other in zip(step[::2], step[1::2]):
        np.testing.assert_array_equal(one, other)
assert np.array(vae.optimizer.dynamic_scale) == 2.0**14, vae.optimizer.dynamic_scale
assert np.array(vae.optimizer.iterations) == 2
print("skipped")
"""


@pytest.mark.slow
def test_an_infinity_on_one_replica_skips_the_step_on_all(warm):
    result = warm.run("-W", "ignore", "-c", INFINITY)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout == "skipped\n"


FAILING = """
import json, os, signal, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from kerasgen.training.distribute import get_strategy, is_chief
from kerasgen.errors import UserError
strategy = get_strategy()
import keras
from kerasgen.data import load
from kerasgen.models import VAE
with strategy.scope():
    vae = VAE((8, 8, 1), 2, filters=(4,), hidden_units=8)
    vae.compile(optimizer="adam")
class Fail(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if not is_chief():
            raise UserError("the second worker's own mistake")
try:
    vae.fit(load("digits", image_size=8, batch_size=250), epochs=100, verbose=0, callbacks=[Fail()])
except UserError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.slow
def test_a_failed_worker_ends_both_with_a_sentence(warm):
    results = run_workers(warm, "-c", FAILING)
    assert [result.returncode for result in results] == [2, 2], results[0].stderr[-3000:]
    chief, other = (result.stdout.splitlines()[-1] for result in results)
    assert other == "the second worker's own mistake"
    assert chief.startswith("The training has stopped, because another worker has stopped or can't be reached")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "TF_CONFIG, which is not set"),
        ("{", "TF_CONFIG can't be read"),
        ("[]", "TF_CONFIG can't be read"),
        ('{"cluster": {"worker": ["a:1"]}}', "TF_CONFIG can't be read"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "this is worker 1, which"),
        ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}', "'a', which is not host:port"),
    ],
)
def test_a_malformed_tf_config_gets_a_sentence(config, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=message) as raised:
        get_strategy("multi_worker")
    assert "\n" not in str(raised.value)


def test_strategies_have_names():
    with pytest.raises(UserError, match="no strategy 'two': choose one of auto, one_device, mirrored, multi_worker"):
        get_strategy("two")
    assert get_strategy("one_device").num_replicas_in_sync == 1
