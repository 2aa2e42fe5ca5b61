"""Four SGD steps of a model on one device, two replicas, or in one of two processes: what `test_distribute` compares.

argv: the model, "one", "two" or "workers", options of the optimizer, the file for the results.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

import kerasgen.models.vae
from kerasgen.data import load, load_unpaired
from kerasgen.layers import Sampling
from kerasgen.models import VAE, CycleGAN
from kerasgen.training.distribute import get_strategy, is_chief

name, devices, optimizer_options, output = sys.argv[1:]
if devices != "workers":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = get_strategy({"one": "one_device", "two": "mirrored", "workers": "multi_worker"}[devices])


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
    if devices == "one":
        kerasgen.models.vae.Sampling = BothReplicasNoise
    return VAE((8, 8, 1), 4, filters=(8, 8), hidden_units=16, num_classes=num_classes)


def cyclegan(**options) -> CycleGAN:
    # Without norms: an instance norm of a black or a clear patch divides by next to nothing, and rounding with it.
    # It knows one image only, so that replicas are nothing to it.
    small = {"filters": 4, "norm": "none"}
    return CycleGAN(
        16,
        1,
        generator_options={**small, "blocks": 1, "downsamplings": 0},
        discriminator_options={**small, "downsamplings": 2},
        pool_size=6,
        **options,
    )


def compiled() -> keras.Model:
    options = eval(optimizer_options)
    accumulate = options.pop("gradient_accumulation_steps", 1)
    scaled, together = options.pop("scaled", False), options.pop("steps_per_execution", 1)

    def optimizer() -> keras.optimizers.Optimizer:
        sgd = keras.optimizers.SGD(**options)
        return keras.optimizers.LossScaleOptimizer(sgd) if scaled else sgd

    makers = {"vae": lambda: vae(None), "conditional_vae": lambda: vae(10), "cyclegan": cyclegan}
    makers["cyclegan_checkpoint"] = lambda: cyclegan(recompute=True)
    makers["cyclegan_alternating"] = lambda: cyclegan(alternate_every=1)
    model = makers[name]()
    optimizers = [optimizer() for _ in range(2 if name.startswith("cyclegan") else 1)]
    model.compile(*optimizers, gradient_accumulation_steps=accumulate, steps_per_execution=together)
    return model


keras.utils.set_random_seed(0)
with strategy.scope():
    model = compiled()

if name.startswith("cyclegan"):
    data = load_unpaired("digits", "photos", image_size=16, channels=1, mode="crop", batch_size=4)
    validation = load_unpaired("digits", "photos", "test", image_size=16, channels=1, mode="crop", batch_size=4).take(
        3
    )
else:
    data = load("digits", image_size=8, batch_size=32)
    validation = load("digits", "test", image_size=8, batch_size=32).take(3)
history = model.fit(data, steps_per_epoch=4, validation_data=validation, epochs=1, verbose=0, shuffle=False).history
if is_chief():
    variables = [v for group in model.training_variables.values() for v in group]
    arrays = {f"{i} {v.name}": np.array(v) for i, v in enumerate(variables)}
    arrays |= {f"log {key}": np.array(values) for key, values in history.items()}
    np.savez(output, **arrays)
