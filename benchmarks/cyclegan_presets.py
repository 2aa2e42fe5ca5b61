"""The quality of CycleGAN's two offline presets on three seeds, as the README's table gives it.

    python benchmarks/cyclegan_presets.py [--preset NAME] [--seed N] [--json FILE]

PSNR and SSIM of the test split's translations against their known truth, which training never sees, beside the
PSNR of the untouched input.
"""

import argparse
import tempfile
import time
from pathlib import Path

from peers import write_json

PRESETS = ("cyclegan_digits_ink", "cyclegan_photo_dusk")


def measure(preset: str, seed: int) -> dict:
    """Train the preset, and measure it."""
    import numpy as np
    import tensorflow as tf

    from kerasgen.commands.train import train

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = train(preset, Path(folder) / "run", seed=seed)
    seconds = time.perf_counter() - start
    untouched = [tf.image.psnr(b["a"] + 1.0, b["truth_b"] + 1.0, 2.0).numpy() for b in run.validation]
    last = {name.removeprefix("val_"): values[-1] for name, values in run.history.items()}
    return {
        "preset": preset,
        "seed": seed,
        "untouched_psnr": float(np.concatenate(untouched).mean()),
        **{name: last[name] for name in ("psnr_a2b", "ssim_a2b", "psnr_b2a", "ssim_b2a")},
        "seconds": seconds,
    }


def main() -> None:
    import tensorflow as tf

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, help="this one alone")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    arguments = parser.parse_args()
    # Adversarial training amplifies the rounding of threads that add in another order: the same seed would give
    # PSNRs that differ by 1 dB.
    tf.config.experimental.enable_op_determinism()
    rows = []
    print("preset                seed  untouched   PSNR a2b   SSIM a2b   PSNR b2a    seconds")
    for preset in [arguments.preset] if arguments.preset else PRESETS:
        for seed in (0, 1, 2) if arguments.seed is None else [arguments.seed]:
            row = measure(preset, seed)
            rows.append(row)
            names = ("untouched_psnr", "psnr_a2b", "ssim_a2b", "psnr_b2a", "seconds")
            print(f"{preset:20}  {seed:4}  " + "  ".join(f"{row[name]:9.3f}" for name in names), flush=True)
    write_json(arguments.json, rows=rows)


if __name__ == "__main__":
    main()
