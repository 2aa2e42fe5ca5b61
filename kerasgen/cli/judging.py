"""Commands that say what a trained model is worth."""

import functools
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from kerasgen.cli.parameters import Seed
from kerasgen.cli.tensorflow import import_tensorflow
from kerasgen.entry import checked_command
from kerasgen.runs import RunFolder
from kerasgen.tables import print_next, print_report, print_table

app = typer.Typer()
_command = functools.partial(checked_command, app)


@_command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="A run folder, a .keras file, or a trained preset.")],
    data: Annotated[
        str | None, typer.Option(help="A data source (two, by a comma, to translate); else the run's.")
    ] = None,
    sampler: Annotated[
        str, typer.Option(help="Samplers, separated by commas; `kerasgen list` shows them.")
    ] = "prior",
    k: Annotated[int, typer.Option(help="Samples for each picture, for the bound on its likelihood (IWAE).")] = 50,
    features: Annotated[
        str, typer.Option(help="What compares pictures: auto, inception, or a classifier's .keras file.")
    ] = "auto",
    output: Annotated[Path | None, typer.Option(help="A JSON file; RUN/evaluation.json by default.")] = None,
    seed: Seed = 0,
) -> None:
    """Measure a trained model on pictures that it was not trained on."""
    import_tensorflow()
    from kerasgen.commands.evaluate import evaluate as run_evaluation
    from kerasgen.commands.evaluate import save_report

    report = run_evaluation(model, data, [name.strip() for name in sampler.split(",")], k, features, seed)
    target = output or RunFolder(model if model.is_dir() else model.parent).evaluation_file
    save_report(report, target)
    print_report(report)
    typer.echo(f"All of it is in {target}.")
    print_next(f"kerasgen export {quote(str(model))} --output saved_models/{quote(model.stem)}")


@_command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, 2 to 6.")],
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("compare.html"),
) -> None:
    """Put runs side by side: verdicts, numbers, curves, pictures, and the settings that differ."""
    for path in runs:
        RunFolder(path).config()  # a mistake is answered before TensorFlow is imported
    import_tensorflow()
    from kerasgen.commands.compare import compare as compare_runs

    print_table("Run", {run.name: run.verdict for run in compare_runs(runs, output)})
    typer.echo(f"Look at {output} in a browser.")


@_command()
def card(
    target: Annotated[Path, typer.Argument(help="A run folder, or a preset with trained weights (name or folder).")],
) -> None:
    """Write README.md beside trained weights: what they do, how they were trained, what they are worth."""
    from kerasgen.commands.card import card_folder, write_card

    card_folder(target)  # a mistake is answered before TensorFlow is imported
    import_tensorflow()
    typer.echo(f"The card is {write_card(target)}.")
