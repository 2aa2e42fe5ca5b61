"""A large picture strip by strip on the GPU, against the same picture whole on the same GPU."""

import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gpu_checks.sizes import Sizes
from gpu_checks.steps import require_gpu
from kerasgen.models.memory import usable_memory
from kerasgen.models.translation import goes_whole, translate_images, whole_memory
from kerasgen.networks import resnet_generator

MOST_DIFFERENCE = 1e-4  # of pictures in [-1, 1]: far less than a level of 256
_TIMES = 6, 8  # the height and the width, in the pixels of a training picture: 3 megapixels on a card


def large(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """Differences in values and in levels, seconds and peak memory.

    Passed if strips differ from the whole by 1e-4 at most, so by one level at most.
    """
    require_gpu(sizes)
    keras.utils.set_random_seed(0)
    generator = resnet_generator(filters=sizes.filters, blocks=sizes.blocks)
    height, width = (times * sizes.pixels for times in _TIMES)
    picture = np.random.default_rng(0).uniform(-1, 1, (height, width, 3)).astype("float32")
    needed = int(whole_memory(generator, height, width))
    by_default = usable_memory(None)
    yield {"pixels": height * width, "whole memory": needed, "memory by default": by_default}
    yield {"whole by default": goes_whole(generator, height, width, by_default)}
    whole, of_whole = _measured(generator, picture, 2 * needed)
    yield {"whole": of_whole}
    strips, of_strips = _measured(generator, picture, needed // 4)
    different = np.abs(strips - whole).max()
    levels = [np.round((result + 1.0) * 127.5) for result in (strips, whole)]
    yield {
        "strips": of_strips | {"memory given": needed // 4},
        "max_difference": different,
        "relative": different / np.abs(whole).max(),
        "most levels": np.abs(levels[0] - levels[1]).max(),
        "share of values": (levels[0] != levels[1]).mean(),
        "passed": bool(different <= MOST_DIFFERENCE),
    }


def _measured(generator: keras.Model, picture: np.ndarray, memory: int) -> tuple[np.ndarray, dict[str, float]]:
    """Return the translation and what it took: the second time, as cuDNN tries its algorithms in the first."""
    first = time.perf_counter()
    translate_images(generator, picture, memory=memory)
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    if on_gpu:
        tf.config.experimental.reset_memory_stats("GPU:0")
    start = time.perf_counter()
    result = translate_images(generator, picture, memory=memory)
    taken = {"first seconds": start - first, "seconds": time.perf_counter() - start}
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] if on_gpu else 0
    return result, taken | ({"peak bytes": peak} if on_gpu else {})
