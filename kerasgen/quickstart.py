"""From real images to verified artifacts in one call."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasgen.errors import UserError
from kerasgen.train import Run, train

PRESETS = {"vae": ("vae_digits",), "cyclegan": ("cyclegan_digits_ink", "cyclegan_photo_dusk")}


@dataclass(frozen=True)
class Result:
    """What became of one preset: its training run, and a measurement of each artifact."""

    preset: str
    run: Run
    measurements: list[Any]


def quickstart(
    output: str | os.PathLike, model: str = "vae", epochs: int | None = None, say: Callable[[str], Any] = print
) -> list[Result]:
    """Train small presets, draw what they do, export them in each format, and measure the artifacts.

    Args:
        output: the folder, with one folder a preset in it; a former quickstart is replaced file by file.
        model: "vae" or "cyclegan".
        epochs: None takes the preset's own.
        say: is told each step in a sentence.

    Raises:
        UserError: there is no such model, or the folder can't be written.
    """
    if model not in PRESETS:
        raise UserError(f"There is no quickstart for {model!r}: choose one of {', '.join(PRESETS)}.")
    return [_one(preset, Path(output) / preset, epochs, say) for preset in PRESETS[model]]


def _one(preset: str, folder: Path, epochs: int | None, say: Callable[[str], Any]) -> Result:
    from kerasgen.export import available_formats, benchmark, export_model
    from kerasgen.pictures import grid, save_png

    say(f"Training {preset}.")
    run = train(preset, folder, epochs=epochs, overwrite=True)
    if hasattr(run.model, "generate"):
        save_png(folder / "generated.png", grid(run.model.generate(100, seed=0), columns=10))
    name, network = next(iter(run.model.deployables().items()))
    inputs = _real_inputs(run)
    paths = []
    for format_name in available_formats():
        say(f"Exporting the {name} as {format_name}, and running it in a fresh process.")
        paths.append(export_model(network, folder / name, format=format_name, inputs=inputs).path)
    say("Measuring the artifacts side by side.")
    return Result(preset, run, benchmark(paths, model=network, inputs=inputs))


def _real_inputs(run: Run) -> Any:
    """Inputs of the first deployable network for real validation images, 16 at most."""
    import numpy as np

    batch = {name: value[:16] for name, value in next(iter(run.validation)).items()}
    if run.model.unpaired:
        return batch["a"].numpy()
    posterior = run.model.encode(batch["image"], batch["label"])
    return {"z": posterior.mean, "label": np.eye(run.model.num_classes, dtype="float32")[batch["label"].numpy()]}
