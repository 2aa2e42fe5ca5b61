"""Three steps of a model's case on one device and on two; argv: the model, and the file for its variables.

One mirrored strategy a process: two would share the keys of their collective operations.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from kerasgen.models import GenerativeModel  # noqa: E402
from tests.conformance.cases import CASES, ModelCase  # noqa: E402


def variables(case: ModelCase, strategy: tf.distribute.Strategy) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What a training moves, before and after."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model: GenerativeModel = case.make()
        case.still(model)
        adversarial = "discriminator_loss" in {reported.name for reported in model.reports}
        model.compile(*[keras.optimizers.SGD(1e-2) for _ in range(1 + adversarial)])
    data = tf.data.Dataset.from_tensor_slices(dict(case.data())).batch(4).repeat()
    moved = [*model.trainable_variables, *case.measured(model)]
    before = [np.array(v) for v in moved]
    model.fit(data, steps_per_epoch=3, verbose=0, shuffle=False)
    return before, [np.array(v) for v in moved]


name, output = sys.argv[1:]
case = CASES[name]
arrays = {}
for devices, strategy in (
    ("one", tf.distribute.OneDeviceStrategy("CPU:0")),
    ("two", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])),
):
    for moment, values in zip(("before", "after"), variables(case, strategy), strict=True):
        arrays |= {f"{devices} {moment} {i}": value for i, value in enumerate(values)}
np.savez(output, **arrays)
