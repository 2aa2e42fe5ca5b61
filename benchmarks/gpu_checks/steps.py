"""Seconds of a training step by `fit`, the limit it is measured against, its memory, and float16's loss scale."""

import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gpu_checks import models
from gpu_checks.sizes import Sizes
from kerasgen.models import GenerativeModel

_PRODUCTS = 20  # before the clock is read: a launch must not count


def require_gpu(sizes: Sizes) -> None:
    """Raise `RuntimeError` where the sizes are a card's and TensorFlow has none."""
    if sizes.needs_gpu and not tf.config.list_physical_devices("GPU"):
        raise RuntimeError("TensorFlow sees no GPU; the check 'devices' says which libraries are missing")


def limit(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """Operations a second of a large matrix product, by type; "float32" may use TF32, as TensorFlow does unasked."""
    require_gpu(sizes)
    for name, dtype, short in (
        ("float32", "float32", True),
        ("float32 without TF32", "float32", False),
        ("bfloat16", "bfloat16", True),
        ("float16", "float16", True),
    ):
        tf.config.experimental.enable_tensor_float_32_execution(short)
        left, right = (tf.cast(tf.random.normal((sizes.product,) * 2), dtype) for _ in range(2))
        seconds = _seconds(lambda a=left, b=right: _multiply(a, b), sizes.rounds)
        yield {name: 2 * sizes.product**3 * _PRODUCTS / seconds}
    tf.config.experimental.enable_tensor_float_32_execution(True)


def _multiply(left: tf.Tensor, right: tf.Tensor) -> None:
    for _ in range(_PRODUCTS):
        product = tf.matmul(left, right)
    product[0, 0].numpy()  # waits for the device


def _seconds(work: Callable[[], object], rounds: int) -> float:
    """Median seconds after a first time."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def step(sizes: Sizes, folder: Path, name: str, precision: str, jit: bool) -> Iterator[dict[str, object]]:
    """A step's seconds in one precision, by XLA or not, with its peak memory; passed if the loss is finite."""
    require_gpu(sizes)
    keras.config.set_dtype_policy(precision)
    try:
        model = models.compiled(models.made(name, sizes))
        model.jit_compile = jit  # as `kerasgen train --jit` does
        yield {"flop_per_step": models.operations(name, sizes, model)}
        reset_peak()
        start = time.perf_counter()
        data = models.repeated(models.batch(name, sizes))
        history = model.fit(data, steps_per_epoch=1, verbose=0, shuffle=False).history
        yield {"first_step": time.perf_counter() - start}
        yield {"seconds_per_step": fitted(model, data, sizes), **peak()}
        losses = {key: value[-1] for key, value in history.items()}
        yield {"passed": bool(np.isfinite(list(losses.values())).all())}
    finally:
        keras.config.set_dtype_policy("float32")
        keras.backend.clear_session()


def fitted(model: GenerativeModel, data: tf.data.Dataset, sizes: Sizes) -> float:
    """Median seconds of a step by the model's own `fit`."""
    run = {"steps_per_epoch": sizes.steps, "verbose": 0, "shuffle": False}
    return _seconds(lambda: model.fit(data, **run), sizes.rounds) / sizes.steps


def reset_peak() -> None:
    """Begin to look for the peak anew, where there is a GPU."""
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.reset_memory_stats("GPU:0")


def peak() -> dict[str, float]:
    """GiB at most: of the device, or of the process where the device is the CPU."""
    if tf.config.list_physical_devices("GPU"):
        return {"peak_gib": tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30}
    return {"process_peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def loss_scale(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """float16 from a loss scale that overflows: it halves until gradients are finite, and only then weights change.

    Passed if each step either halved the scale and left the weights alone, or changed them, if both occurred, and if
    the scale doubled once after four good steps.
    """
    require_gpu(sizes)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = models.made("vae", sizes)
        scaled = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(1e-6), initial_scale=2.0**30, dynamic_growth_steps=4
        )
        model.compile(scaled)
        examples, rows = models.batch("vae", sizes), []
        model.prepare_optimizers()
        for _ in range(32):
            before, scale = model.encoder.get_weights()[0], float(scaled.dynamic_scale)
            model.train_on_batch(examples)
            moved = not np.array_equal(before, model.encoder.get_weights()[0])
            rows.append((scale, float(scaled.dynamic_scale), moved))
            if rows[-1][1] > scale:
                break
    finally:
        keras.config.set_dtype_policy("float32")
        keras.backend.clear_session()
    yield {"scales": [scale for scale, *_ in rows]}
    sound = all((after == scale / 2) is not moved for scale, after, moved in rows)
    refused, grown = sum(not moved for *_, moved in rows), rows[-1][1] == 2 * rows[-1][0]
    yield {"overflowing_steps": refused, "passed": sound and grown and 0 < refused < len(rows)}
