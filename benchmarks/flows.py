"""Pictures from noise by flows, codes and a VAE, in one table: what `kerasgen evaluate` says against held-out ones.

    python benchmarks/flows.py digits [--seeds 0,1,2] [--runs runs/flows] [--rows codes]
    python benchmarks/flows.py emoji --seeds 0

Seed 0 of what ships is measured as it ships; all else is trained into the folder, where a run that is there already
is measured as it is. Each row is one training with the seed. Of the 297 test digits:

- flow, pixels: `flow_digits`, 8 steps of Heun's way.
- flow, latents: the same kind of flow in latents of 4×4×4, which an `AutoencoderKL` of the digits gives.
- reflow, latents, 4 steps: learns where the flow in latents takes noise, and goes there by 4 steps of Euler's way.
- …, 4 steps: the same weights as the flow above, by 4 steps of Euler's way, for comparison.
- codes: `prior_digits` over the codes of `vq_digits`.

Of OpenMoji's held-out drawings, each with attributes of a training drawing:

- flow: `flow_emoji_64`, 8 steps of Heun's way; 4 steps, and the reflow, as above.
- VAE: `label_to_image`'s networks, 64 latents, told the same attributes.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from kerasgen.commands.evaluate import evaluate
from kerasgen.commands.train import train
from kerasgen.models.rectified_flow import PRESETS
from kerasgen.runs import RunFolder, load_model

COLUMNS = ("frechet", "kernel", "precision", "recall", "conditional_accuracy", "nearest_training")
FEW_STEPS = {"steps": 4, "solver": "euler"}


def run(preset: str, folder: Path, seed: int, data: str | None = None, **options) -> Path:
    """A run folder: trained, or finished, or as it stands there."""
    known = RunFolder(folder)
    if not known.model_file.exists():
        train(preset, folder, data, seed=seed, resume=known.exists(), **options)
    return folder


def flow(folder: Path, seed: int) -> str | Path:
    return run("flow_digits", folder / "flow", seed) if seed else "flow_digits"


def latent(folder: Path, seed: int) -> Path:
    options = {"filters": [32, 64], "patch": 2}
    settings = {"channels": 1, "architecture_options": options, "image_size": 16, "data.channels": 1}
    first = run("kl_emoji_64", folder / "kl", seed, "digits", epochs=40, batch_size=32, settings=settings)
    settings = {"first_stage": str(first), "patch": 1}
    return run("flow_digits", folder / "latent", seed, epochs=200, settings=settings)


def hasty(path: str | Path, target: Path, preset: str = "flow_digits") -> Path:
    """A flow's weights as they are, in a model that takes few steps."""
    given = load_model(path)
    model = type(given).from_config({**given.get_config(), **FEW_STEPS})
    model.set_weights(given.get_weights())
    model.save_to_preset(target, {"preset": preset, "data": PRESETS[preset].data})
    return target


def reflow(folder: Path, seed: int) -> Path:
    teacher = str(latent(folder, seed))
    settings = {**FEW_STEPS, "first_stage": str(folder / "kl"), "patch": 1, "guidance": 1.0, "ema": 0.99}
    settings |= {"recipe.teacher": teacher, "recipe.learning_rate": 5e-4}
    return run("flow_digits", folder / "reflow", seed, epochs=20, settings=settings, start=teacher)


def codes(folder: Path, seed: int) -> str | Path:
    if not seed:
        return "prior_digits"
    first = run("vq_digits", folder / "vq", seed)
    return run("prior_digits", folder / "prior", seed, settings={"first_stage": str(first)})


def emoji(folder: Path, seed: int) -> str | Path:
    return run("flow_emoji_64", folder / "emoji", seed) if seed else "flow_emoji_64"


def emoji_reflow(folder: Path, seed: int) -> Path:
    teacher = str(emoji(folder, seed))
    settings = {**FEW_STEPS, "guidance": 1.0, "ema": 0.99, "recipe.teacher": teacher, "recipe.learning_rate": 5e-4}
    return run("flow_emoji_64", folder / "emoji_reflow", seed, epochs=8, settings=settings, start=teacher)


def emoji_vae(folder: Path, seed: int) -> Path:
    settings = {"num_attributes": 11, "data.augmentation": "flips_and_shifts"}
    return run("label_to_image", folder / "vae", seed, "openmoji_attributes", epochs=40, settings=settings)


DIGITS: dict[str, Callable[[Path, int], str | Path]] = {
    "flow, pixels": flow,
    "flow, pixels, 4 steps": lambda folder, seed: hasty(flow(folder, seed), folder / "flow_hasty"),
    "flow, latents": latent,
    "flow, latents, 4 steps": lambda folder, seed: hasty(latent(folder, seed), folder / "latent_hasty"),
    "reflow, latents, 4 steps": reflow,
    "codes": codes,
}
EMOJI: dict[str, Callable[[Path, int], str | Path]] = {
    "VAE": emoji_vae,
    "flow": emoji,
    "flow, 4 steps": lambda folder, seed: hasty(emoji(folder, seed), folder / "emoji_hasty", "flow_emoji_64"),
    "reflow, 4 steps": emoji_reflow,
}
SETS = {"digits": DIGITS, "emoji": EMOJI}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", choices=list(SETS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--runs", type=Path, default=Path("runs/flows"))
    parser.add_argument("--rows", nargs="*", help="some of the table's; by default all")
    asked = parser.parse_args()
    rows = SETS[asked.pictures]
    print("| way | seed | " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |")
    print("| --- " * (2 + len(COLUMNS)) + "|")
    for seed in map(int, asked.seeds.split(",")):
        for name in asked.rows or rows:
            found = evaluate(rows[name](asked.runs / str(seed), seed))["pictures"]["prior"]
            numbers = " | ".join("–" if found[c] is None else f"{found[c]:.3f}" for c in COLUMNS)
            print(f"| {name} | {seed} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
