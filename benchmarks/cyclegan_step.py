"""One CycleGAN training step beside PyTorch's: the same networks, algorithm, size and batch.

    python benchmarks/cyclegan_step.py [--size 256] [--blocks 9] [--rounds 5] [--json FILE]

Each side runs in a process of its own, and they take turns, one step at a time; the medians' ratio to PyTorch in
float32 is what carries over to other machines. The peak memory is that of the whole process, its libraries included.
PyTorch's side is `torch_cyclegan.py`, written after the algorithm of junyanz/pytorch-CycleGAN-and-pix2pix, with an
image pool of Python tensors.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIDES = ("torch float32", "torch bfloat16", "kerasgen float32", "kerasgen bfloat16", "kerasgen float32, identity off")


def torch_step(size: int, blocks: int, precision: str):
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
        *(ResnetGenerator(blocks=blocks) for _ in range(2)),
        *(PatchGAN() for _ in range(2)),
        pool_a=lambda fake: pool(kept_a, fake),
        pool_b=lambda fake: pool(kept_b, fake),
    )
    a, b = (torch.rand(1, 3, size, size) * 2 - 1 for _ in range(2))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            trainer.step(a, b)

    return step


def keras_step(size: int, blocks: int, precision: str, lambda_identity: float):
    """A function that runs one step of our CycleGAN."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np

    from kerasgen.models import CycleGAN

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = CycleGAN(size, generator_options={"blocks": blocks}, lambda_identity=lambda_identity)
    model.compile()
    rng = np.random.default_rng(0)
    batch = {name: rng.uniform(-1, 1, (1, size, size, 3)).astype("float32") for name in ("a", "b")}
    return lambda: model.train_on_batch(batch)


def work(side: str, size: int, blocks: int) -> None:
    """A worker: one step for each line of its input; answers with the seconds and the peak memory."""
    library, precision = side.split(",")[0].split()
    if library == "torch":
        step = torch_step(size, blocks, precision)
    else:
        step = keras_step(size, blocks, precision, 0.0 if "identity off" in side else 0.5)
    for _ in range(2):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]), flush=True)


def measure(size: int, blocks: int, rounds: int) -> list[dict]:
    """Medians of all sides, in the order of SIDES."""
    command = [sys.executable, __file__, "--size", str(size), "--blocks", str(blocks), "--side"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    workers = {side: subprocess.Popen([*command, side], **pipes) for side in SIDES}
    answers = {side: [] for side in SIDES}
    try:
        for side, worker in workers.items():
            if worker.stdout.readline().strip() != "ready":
                raise RuntimeError(f"the side {side!r} didn't start: run it alone with --side to see why")
        for _ in range(rounds):
            for side, worker in workers.items():
                worker.stdin.write("\n")
                worker.stdin.flush()
                answers[side].append(json.loads(worker.stdout.readline()))
    finally:
        for worker in workers.values():
            worker.kill()
    seconds = {side: statistics.median(s for s, _ in found) for side, found in answers.items()}
    return [
        {
            "side": side,
            "seconds": seconds[side],
            "ratio": seconds[side] / seconds[SIDES[0]],
            "peak_gib": max(memory for _, memory in answers[side]),
        }
        for side in SIDES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        work(arguments.side, arguments.size, arguments.blocks)
        return
    rows = measure(arguments.size, arguments.blocks, arguments.rounds)
    print(f"{'side':32} ratio  seconds  peak GiB")
    for row in rows:
        print(f"{row['side']:32} {row['ratio']:5.2f}  {row['seconds']:7.2f}  {row['peak_gib']:8.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
