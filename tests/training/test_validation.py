"""Validation on two devices gives one device's numbers, whatever the last batch holds."""

import json
import os
import subprocess
import sys

import pytest

# argv: sizes of the validation data, and models. One strategy a process; two logical CPUs stand for two devices.
SCRIPT = """
import json, sys
import keras, numpy as np, tensorflow as tf
from kerasgen.models import VAE, CycleGAN, PairedTranslator, Registration
from kerasgen.training.distribute import get_strategy

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
small = {"filters": 4, "norm": "none"}

def pictures(count, low=-1.0):
    return rng.uniform(low, 1, (count, 16, 16, 3)).astype("float32")

def weights(count):
    return rng.uniform(0, 2, count).astype("float32")

def cyclegan():
    generator = {**small, "blocks": 1, "downsamplings": 0}
    return CycleGAN(16, generator_options=generator, discriminator_options={**small, "downsamplings": 2})

def pix2pix():
    unet = {"filters": 4, "downsamplings": 3}
    options = {"generator_options": unet, "discriminator_options": {"filters": 4, "downsamplings": 1}}
    return PairedTranslator("unet", lambda_adversarial=1.0, **options)

def pair(count):
    return {"a": pictures(count), "b": pictures(count)}

def flow(count):
    return {"flow": pictures(count)[..., :2], "sample_weight": weights(count)}

makers = {
    "vae": (
        lambda: VAE((16, 16, 3), 4, filters=(8, 8), hidden_units=16, num_classes=3),
        lambda n: {"image": pictures(n, 0.0), "label": rng.integers(0, 3, n), "sample_weight": weights(n)},
    ),
    "cyclegan": (cyclegan, lambda n: {**pair(n), "truth_b": pictures(n)}),
    "pix2pix": (pix2pix, lambda n: {**pair(n), "sample_weight": weights(n)}),
    "registration": (
        lambda: Registration(filters=(4, 4)),
        lambda n: {"moving": pictures(n), "fixed": pictures(n), **flow(n)},
    ),
}
strategy = get_strategy("mirrored")
assert strategy.num_replicas_in_sync == 2
sizes = [int(size) for size in sys.argv[1].split(',')]
for name in sys.argv[2:]:
    make, data = makers[name]
    training = tf.data.Dataset.from_tensor_slices(data(8)).batch(8)
    validations, found = {count: data(count) for count in sizes}, {count: [] for count in sizes}
    for scope in (tf.distribute.get_strategy().scope, strategy.scope):
        keras.utils.set_random_seed(0)
        with scope():
            model = make()
            optimizers = [keras.optimizers.SGD(0.0) for _ in range(2)]
            model.compile(*optimizers[: 1 if name in ("vae", "registration") else 2])
        first = [np.array(variable) for variable in model.variables]
        for count in sizes:
            # One model, traced once, begins each size as if it were new.
            for variable, value in zip(model.variables, first):
                variable.assign(value)
            keras.utils.set_random_seed(0)
            batches = tf.data.Dataset.from_tensor_slices(validations[count]).batch(6)
            found[count].append(model.evaluate(batches, return_dict=True, verbose=0))
            if name == "vae":  # `fit` says the same; tracing the training of each model would take minutes
                logs = model.fit(training, validation_data=batches, verbose=0, shuffle=False).history
                own = {key: value[-1] for key, value in logs.items() if key.startswith("val_")}
                assert own == {"val_" + key: value for key, value in found[count][-1].items()}, (own, found)
    for count in sizes:
        print(json.dumps([name, count, *found[count]]))
"""


# Batches of 6, the last of them of 1 (a replica without an example), of 2, of 5; and a single batch of 1.
SIZES = (13, 14, 17, 1)


def numbers(sizes, models):
    # TensorFlow's oneDNN kernels refuse an empty batch; on some CPUs they are off by default.
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, ",".join(map(str, sizes)), *models]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    ("sizes", "models"),
    [
        (SIZES[:1], ["vae"]),
        pytest.param(SIZES, ["vae", "cyclegan", "pix2pix", "registration"], marks=pytest.mark.slow),
    ],
)
def test_two_devices_validate_as_one(sizes, models):
    rows = numbers(sizes, models)
    assert len(rows) == len(sizes) * len(models)
    for name, count, one, two in rows:
        assert one.keys() == two.keys()
        assert len(one) >= 4
        for metric, value in one.items():
            assert two[metric] == pytest.approx(value, rel=2e-5, abs=1e-5), (name, count, metric)
