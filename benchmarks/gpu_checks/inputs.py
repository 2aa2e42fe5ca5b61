"""What part of a training step waits for the pictures."""

import time
from collections.abc import Iterator
from pathlib import Path

import keras
from input import write_pictures

from gpu_checks import models
from gpu_checks.sizes import Sizes
from gpu_checks.steps import fitted, require_gpu
from kerasgen.data import load_unpaired

_PICTURES = 64  # JPEGs of one megapixel, half of them in each domain


def share(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """CycleGAN's step on JPEGs from folders against one on a batch that stands ready, in bfloat16, our fastest.

    "input_share" is the part of the step that the pipeline adds; "input_alone" what it takes for a batch with nothing
    else to do. The pictures are small enough to stay in memory after the first epoch, which is counted alone.
    """
    require_gpu(sizes)
    count = _PICTURES if sizes.needs_gpu else 8
    write_pictures(folder, count)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.compiled(models.made("cyclegan", sizes))
        data = load_unpaired(
            f"folder:{folder / 'train' / 'a'}", f"folder:{folder / 'train' / 'b'}", image_size=sizes.pixels,
            start_step=0,
        )  # fmt: skip
        batches, epoch = iter(data), count // 2
        taken = []
        for _ in range(2 * epoch):
            start = time.perf_counter()
            next(batches)
            taken.append(time.perf_counter() - start)
        yield {"first_epoch_alone": sum(taken[:epoch]) / epoch, "input_alone": sum(taken[epoch:]) / epoch}
        ready = fitted(model, models.repeated(models.batch("cyclegan", sizes)), sizes)
        loaded = fitted(model, data, sizes)
        yield {"ready": ready, "loaded": loaded, "input_share": max(0.0, 1 - ready / loaded)}
    finally:
        keras.config.set_dtype_policy("float32")
        keras.backend.clear_session()
