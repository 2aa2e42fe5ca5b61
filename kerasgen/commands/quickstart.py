"""From real images to verified artifacts in one call."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kerasgen.errors import UserError

if TYPE_CHECKING:
    from kerasgen.commands.train import Run
    from kerasgen.export import Measurement

PRESETS = {"vae": ("vae_digits",), "cyclegan": ("cyclegan_digits_ink", "cyclegan_photo_dusk")}


@dataclass(frozen=True)
class Result:
    """What became of one preset: its training run, and a measurement of each artifact."""

    preset: str
    run: "Run"
    measurements: "list[Measurement]"


def quickstart(
    output: str | os.PathLike, model: str = "vae", epochs: int | None = None, say: Callable[[str], object] = print
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
    check_name(model)
    return [_one(preset, Path(output) / preset, epochs, say) for preset in PRESETS[model]]


def check_name(model: str) -> None:
    """Raise `UserError` unless there is a quickstart of that name."""
    if model not in PRESETS:
        raise UserError(f"There is no quickstart for {model!r}: choose one of {', '.join(PRESETS)}.")


def _one(preset: str, folder: Path, epochs: int | None, say: Callable[[str], object]) -> Result:
    from kerasgen.commands.ship import shipments
    from kerasgen.commands.train import train
    from kerasgen.drawing import grid, save_png
    from kerasgen.export import available_formats, benchmark, export_model, imported_once

    say(f"Training {preset}.")
    run = train(preset, folder, epochs=epochs, overwrite=True)
    if run.model.generates:
        save_png(folder / "generated.png", grid(run.model.generate(100, seed=0), columns=10))
    shipment = shipments(folder)[0]
    paths = []
    with imported_once():
        for format_name in available_formats():
            say(f"Exporting the {shipment.name} as {format_name}, and running it in a fresh process.")
            options = shipment.options(format_name)
            paths.append(export_model(shipment.network, folder / shipment.name, format_name, **options).path)
        say("Measuring the artifacts side by side.")
        return Result(preset, run, benchmark(paths, shipment.network, shipment.inputs))
