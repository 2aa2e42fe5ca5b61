"""Four SGD steps of a model on one device, on two replicas, or in one of two processes: what `test_distribute` compares.

argv: the model, "one", "two" or "workers", options of the optimizer, the file for the results.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from kerasgen.distribute import get_strategy, is_chief

name, devices, optimizer_options, output = sys.argv[1:]
if devices == "workers":
    strategy = get_strategy("multi_worker")

import keras
import numpy as np
import tensorflow as tf

from kerasgen.layers import Sampling
from kerasgen.models import VAE, CycleGAN
from kerasgen.models.base import ReplicaSeedGenerator

if devices != "workers":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = get_strategy("mirrored" if devices == "two" else "one_device")


class BothReplicasNoise(Sampling):
    """On one device: the first half of the batch gets what replica 0 draws, the second half what replica 1 draws."""

    def call(self, inputs):
        mean, log_var = inputs
        first = keras.random.SeedGenerator.next(self.seed_generator)
        half = (tf.shape(mean)[0] // 2, mean.shape[1])
        seeds = (first, first + tf.constant([0, 1_000_003], first.dtype))
        noise = [tf.random.stateless_normal(half, tf.cast(seed, tf.int32)) for seed in seeds]
        return mean + tf.exp(0.5 * log_var) * tf.concat(noise, axis=0)


def vae(num_classes: int | None) -> VAE:
    model = VAE((8, 8, 1), 4, filters=(8, 8), hidden_units=16, num_classes=num_classes)
    if devices == "one":
        model.sampling = BothReplicasNoise(ReplicaSeedGenerator(0))
    return model


def cyclegan() -> CycleGAN:
    options = {"filters": 4, "blocks": 1, "downsamplings": 0}
    return CycleGAN(
        16, 1, generator_options=options, discriminator_options={"filters": 4, "downsamplings": 2}, pool_size=6
    )


def compiled() -> keras.Model:
    options = eval(optimizer_options)
    accumulate = options.pop("gradient_accumulation_steps", 1)
    scaled = options.pop("scaled", False)

    def optimizer() -> keras.optimizers.Optimizer:
        sgd = keras.optimizers.SGD(**options)
        return keras.optimizers.LossScaleOptimizer(sgd) if scaled else sgd

    makers = {"vae": lambda: vae(None), "conditional_vae": lambda: vae(10), "cyclegan": cyclegan}
    model = makers[name]()
    optimizers = [optimizer() for _ in range(2 if name == "cyclegan" else 1)]
    model.compile(*optimizers, gradient_accumulation_steps=accumulate)
    return model


keras.utils.set_random_seed(0)
with strategy.scope():
    model = compiled()

from kerasgen.data import load, load_unpaired

if name == "cyclegan":
    data = load_unpaired("digits", "photos", image_size=16, channels=1, mode="crop", batch_size=4)
    validation = load_unpaired("digits", "photos", "test", image_size=16, channels=1, mode="crop", batch_size=4).take(3)
else:
    data = load("digits", image_size=8, batch_size=32)
    validation = load("digits", "test", image_size=8, batch_size=32).take(3)
history = model.fit(data, steps_per_epoch=4, validation_data=validation, epochs=1, verbose=0, shuffle=False).history
if is_chief():
    variables = [v for group in model.training_variables.values() for v in group]
    arrays = {f"{i} {v.path}": np.array(v) for i, v in enumerate(variables)}
    arrays |= {f"log {key}": np.array(values) for key, values in history.items()}
    np.savez(output, **arrays)
