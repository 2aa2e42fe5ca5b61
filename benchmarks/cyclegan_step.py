"""One CycleGAN training step beside PyTorch's: the same networks, algorithm, size and batch.

    python benchmarks/cyclegan_step.py [--size 256] [--blocks 9] [--rounds 3] [--bfloat16] [--json FILE]
    python benchmarks/cyclegan_step.py --linearity [--blocks 9] [--rounds 3] [--json FILE]

Each side runs in a process of its own, and they take turns, one step at a time; the medians' ratio to PyTorch in
float32 is what carries over to other machines. The peak memory is that of the whole process, its libraries included.
"of limit" is the step's convolutions against what a large float32 matrix product reaches in the same run.
PyTorch's side is `torch_cyclegan.py`, written after the algorithm of junyanz/pytorch-CycleGAN-and-pix2pix, with an
image pool of Python tensors.

`--linearity` times our float32 step from 64 to 256 pixels and from 1 to 8 images, and prints each time over that of
one image of 64 pixels, per pixel and image: 1.00 is linear.
"""

import argparse
import math
import os
import random
import statistics
import sys
import time
from pathlib import Path

from peers import answer, machine, take_turns, write_json

SIDES = (
    "torch float32",
    "torch bfloat16",
    "kerasgen float32",
    "kerasgen bfloat16",
    "kerasgen float32, identity off",
    "kerasgen float32, recompute",
)
LIMIT = "matrix product float32"
# (pixels of a side, images); the first is what the others are compared with.
SHAPES = ((64, 1), (128, 1), (256, 1), (64, 2), (64, 4), (64, 8))
_PRODUCT = 2048


def torch_step(size: int, blocks: int, precision: str, device: str = "cpu", filters: int = 64):
    """A function that runs one step in PyTorch."""
    import torch
    from torch_cyclegan import PatchGAN, ResnetGenerator, Trainer

    def pool(images: list, fake: "torch.Tensor") -> "torch.Tensor":
        if len(images) < 50:
            images.append(fake.clone())
            return fake
        if random.random() < 0.5:
            return fake
        place = random.randrange(50)
        old, images[place] = images[place], fake.clone()
        return old

    kept_a, kept_b = [], []
    trainer = Trainer(
        *(ResnetGenerator(filters=filters, blocks=blocks).to(device) for _ in range(2)),
        *(PatchGAN(filters=filters).to(device) for _ in range(2)),
        pool_a=lambda fake: pool(kept_a, fake),
        pool_b=lambda fake: pool(kept_b, fake),
    )
    a, b = (torch.rand(1, 3, size, size, device=device) * 2 - 1 for _ in range(2))

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            trainer.step(a, b)

    return step


def keras_step(size: int, blocks: int, precision: str = "float32", batch_size: int = 1, **options):
    """A function that runs one step of our CycleGAN."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np

    from kerasgen.models import CycleGAN

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = CycleGAN(size, generator_options={"blocks": blocks}, **options)
    model.compile()
    rng = np.random.default_rng(0)
    batch = {name: rng.uniform(-1, 1, (batch_size, size, size, 3)).astype("float32") for name in ("a", "b")}
    return lambda: model.train_on_batch(batch)


def matrix_product():
    """A function that multiplies two matrices, `2 * _PRODUCT**3` floating-point operations."""
    import tensorflow as tf

    left, right = (tf.random.normal((_PRODUCT, _PRODUCT)) for _ in range(2))
    return lambda: tf.matmul(left, right).numpy()


def step_of(side: str, size: int, blocks: int):
    """A function that runs one step of a side."""
    if side == LIMIT:
        return matrix_product()
    name, _, option = side.partition(", ")
    library, precision = name.split()
    if library == "torch":
        return torch_step(size, blocks, precision)
    options = {"": {}, "identity off": {"lambda_identity": 0.0}, "recompute": {"recompute": True}}
    return keras_step(size, blocks, precision, **options[option])


def step_operations(size: int, blocks: int, identity: bool = True) -> float:
    """Floating-point operations of the convolutions in one step of one image, recomputation not counted."""
    import keras

    from kerasgen.networks import patchgan, resnet_generator

    def multiplications(network: keras.Model) -> int:
        layers = keras.models.clone_model(network, keras.Input((size, size, 3))).layers
        transposed = keras.layers.Conv2DTranspose
        pixels = {
            layer: (layer.input if isinstance(layer, transposed) else layer.output).shape[1:3]
            for layer in layers
            if isinstance(layer, (keras.layers.Conv2D, transposed))
        }
        return sum(math.prod((*layer.kernel.shape, *shape)) for layer, shape in pixels.items())

    # Forward, input gradient and weight gradient of six translations, or of four; six forward, six input gradients
    # and four weight gradients of a discriminator.
    translations = 18 if identity else 12
    return 2.0 * (translations * multiplications(resnet_generator(blocks=blocks)) + 16 * multiplications(patchgan()))


def measure(sides: list[str], size: int, blocks: int, rounds: int) -> tuple[list[dict], float]:
    """Medians of the sides, and the matrix product's floating-point operations a second."""
    command = [sys.executable, __file__, "--size", size, "--blocks", blocks, "--side"]
    found = take_turns({side: [*command, side] for side in (*sides, LIMIT)}, rounds)
    limit = 2 * _PRODUCT**3 / found.pop(LIMIT)["seconds"]
    operations = {on: step_operations(size, blocks, on) for on in (True, False)}
    rows = []
    for side, row in found.items():
        count, seconds = operations["identity off" not in side], row["seconds"]
        rates = {"gflop": count / 1e9, "of_limit": count / seconds / limit}
        rows.append({"side": side, "ratio": seconds / found[sides[0]]["seconds"], **row, **rates})
    return rows, limit


def linearity(blocks: int, rounds: int) -> list[dict]:
    """Medians of our float32 step for each of SHAPES, in turns."""
    steps = {shape: keras_step(shape[0], blocks, batch_size=shape[1]) for shape in SHAPES}
    for step in steps.values():
        step()
    times = {shape: [] for shape in SHAPES}
    for _ in range(rounds):
        for shape, step in steps.items():
            start = time.perf_counter()
            step()
            times[shape].append(time.perf_counter() - start)
    rows = []
    for (size, images), taken in times.items():
        seconds = statistics.median(taken)
        rows.append({"size": size, "images": images, "seconds": seconds, "per_pixel": seconds / (size**2 * images)})
    return [{**row, "ratio": row["per_pixel"] / rows[0]["per_pixel"]} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--bfloat16", action="store_true", help="too; minutes a step on a processor without its units"
    )
    parser.add_argument("--linearity", action="store_true", help="our step's time by size and batch instead")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        answer(step_of(arguments.side, arguments.size, arguments.blocks))
        return
    result = {"blocks": arguments.blocks}
    if arguments.linearity:
        result["rows"] = linearity(arguments.blocks, arguments.rounds)
        print(f"{machine()}; {arguments.blocks} blocks, float32\npixels  images  ratio  seconds")
        for row in result["rows"]:
            print(f"{row['size']:6}  {row['images']:6}  {row['ratio']:5.2f}  {row['seconds']:7.2f}")
    else:
        sides = [side for side in SIDES if arguments.bfloat16 or "bfloat16" not in side]
        result["rows"], limit = measure(sides, arguments.size, arguments.blocks, arguments.rounds)
        result |= {"size": arguments.size, "limit_gflops": limit / 1e9}
        print(f"{machine()}; {arguments.size} pixels; matrix product {limit / 1e9:.0f} GFLOP/s in float32")
        print(f"{'side':32} ratio  seconds  of limit  peak GiB")
        for row in result["rows"]:
            numbers = f"{row['ratio']:5.2f}  {row['seconds']:7.2f}  {row['of_limit']:8.0%}  {row['peak_gib']:8.2f}"
            print(f"{row['side']:32} {numbers}")
    write_json(arguments.json, **result)


if __name__ == "__main__":
    main()
