"""Gradients on the GPU against the CPU's, and two devices against one."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gpu_checks import models
from gpu_checks.sizes import Sizes
from gpu_checks.steps import require_gpu
from kerasgen.models import CycleGAN
from kerasgen.training.distribute import get_strategy

_RATE = 1024.0  # large beside the weights, so that a difference of weights holds all digits of the gradient
MOST_RELATIVE, MOST_BETWEEN_DEVICES = 1e-3, 1e-4


def gradients_of(name: str, sizes: Sizes) -> list[np.ndarray]:
    """What one step of SGD takes off each trained weight: the gradients of the model's own training step."""
    model = models.compiled(models.made(name, sizes), lambda: keras.optimizers.SGD(_RATE))
    before = [np.array(v, np.float64) for v in model.trainable_variables]
    model.train_on_batch(models.batch(name, sizes))
    return [(old - np.array(v, np.float64)) / _RATE for old, v in zip(before, model.trainable_variables, strict=True)]


def relative_difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """‖found − expected‖ / ‖expected‖ of all arrays together; NaN if any number is."""
    both = [np.concatenate([array.ravel() for array in arrays]) for arrays in (found, expected)]
    return float(np.linalg.norm(both[0] - both[1]) / np.linalg.norm(both[1]))


def reference_gradients(sizes: Sizes, folder: Path, name: str) -> Iterator[dict[str, object]]:
    """Write the CPU's gradients of a model, for `gradients`; runs where no GPU is visible."""
    found = gradients_of(name, sizes)
    np.savez(folder / f"{name}_gradients.npz", *found)
    yield {"gradients": len(found)}


def gradients(sizes: Sizes, folder: Path, name: str) -> Iterator[dict[str, object]]:
    """Relative difference from the CPU's gradients, in float32; passed if it is at most a thousandth."""
    require_gpu(sizes)
    with np.load(folder / f"{name}_gradients.npz") as file:
        expected = [file[key] for key in file.files]
    difference = relative_difference(gradients_of(name, sizes), expected)
    yield {"float32": difference, "passed": difference <= MOST_RELATIVE}


def replicas(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """Three steps on two logical devices of one card under MirroredStrategy, against the same on one.

    Passed if no weight differs by more than 1e-4, though each network was trained.
    """
    require_gpu(sizes)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    device = (tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU"))[0]
    memory = {"memory_limit": 8192} if device.device_type == "GPU" else {}
    halves = [tf.config.LogicalDeviceConfiguration(**memory) for _ in range(2)]
    tf.config.set_logical_device_configuration(device, halves)
    one = tf.distribute.OneDeviceStrategy(f"{device.device_type}:0")
    two = get_strategy("mirrored")
    yield {"devices": [d.name for d in tf.config.list_logical_devices(device.device_type)]}
    (before, alone), (_, together) = trained(one), trained(two)
    pairs = list(zip(before, alone, together, strict=True))
    yield {
        "replicas": two.num_replicas_in_sync,
        "difference": max(float(np.abs(a - t).max()) for _, a, t in pairs),
        "least change": min(float(np.abs(a - b).max()) for b, a, _ in pairs),
    }
    close = all(np.abs(a - t).max() <= MOST_BETWEEN_DEVICES for _, a, t in pairs)
    moved = all(np.abs(a - b).max() > 0 for b, a, _ in pairs)
    yield {"passed": bool(close and moved and two.num_replicas_in_sync == 2)}


def trained(strategy: tf.distribute.Strategy) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What a small CycleGAN's weights are before and after three steps of SGD on four pictures of each domain."""
    keras.utils.set_random_seed(0)
    # Without norms: an instance norm of a flat patch divides by next to nothing, and multiplies rounding.
    small = {"filters": 8, "norm": "none"}
    with strategy.scope():
        model = CycleGAN(
            32,
            generator_options={**small, "blocks": 1},
            discriminator_options={**small, "downsamplings": 2},
            pool_size=6,
        )
        model.compile(*(keras.optimizers.SGD(1e-2) for _ in range(2)))
    random = np.random.default_rng(0)
    pictures = {domain: random.uniform(-1, 1, (4, 32, 32, 3)).astype("float32") for domain in ("a", "b")}
    before = [np.array(v) for v in model.trainable_variables]
    model.fit(models.repeated(pictures), steps_per_epoch=3, verbose=0, shuffle=False)
    return before, [np.array(v) for v in model.trainable_variables]
