"""Commands that train."""

import functools
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from kerasgen.cli.parameters import Resume, Schedule, Seed, Start, with_options
from kerasgen.cli.tensorflow import import_tensorflow
from kerasgen.commands.arguments import is_run, parse_settings, parse_sweep, read_settings, sources_of
from kerasgen.commands.options import Options
from kerasgen.declared import check_monitor, check_settings
from kerasgen.entry import checked_command
from kerasgen.errors import UserError
from kerasgen.runs import RunFolder
from kerasgen.tables import print_grid, print_last, print_measurements, print_next, print_table
from kerasgen.typing import Config

app = typer.Typer()
_command = functools.partial(checked_command, app)


@_command()
def quickstart(
    output: Annotated[Path, typer.Option(help="Folder for the runs and the artifacts.")] = Path("quickstart"),
    model: Annotated[str, typer.Option(help="vae or cyclegan.")] = "vae",
    epochs: Annotated[int | None, typer.Option(help="Fewer for a quick look; the preset's own by default.")] = None,
) -> None:
    """Train on real images, export in every format, verify and measure the artifacts."""
    from kerasgen.commands.quickstart import check_name
    from kerasgen.commands.quickstart import quickstart as run_quickstart

    check_name(model)
    import_tensorflow()
    results = run_quickstart(output, model, epochs=epochs, say=typer.echo)
    for result in results:
        print_last(result.run.history)
        print_measurements(result.measurements)
        typer.echo(f"Look at the pictures in {result.run.folder}.")
    print_next(
        "kerasgen generate vae_digits --output pictures --n 16",
        "kerasgen translate sketch_to_emoji --input YOUR_DRAWINGS --output colored",
        "kerasgen train vae_64 --data folder:YOUR_PICTURES --output runs/mine",
    )


@_command()
@with_options
def train(
    preset: Annotated[str, typer.Argument(help="What to train: a name that `kerasgen list` shows.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder to write to: config.json, log.csv, pictures, model.keras.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="What to train on, such as folder:PATH; by default the preset's own.")
    ] = None,
    data_a: Annotated[
        str | None, typer.Option(help="Two sources: the pictures to translate, such as folder:sketches.")
    ] = None,
    data_b: Annotated[
        str | None, typer.Option(help="Two sources: what they should become, such as folder:colored.")
    ] = None,
    swap: Annotated[bool, typer.Option("--swap", help="Exchange A and B: learn the other direction.")] = False,
    epochs: Annotated[
        int | None, typer.Option(help="How often to go through the data; by default the preset's own.")
    ] = None,
    seed: Seed = 0,
    image_size: Annotated[int | None, typer.Option(help="Pixels of the square pictures to train on.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures in a step, on all devices together.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The optimizer's, at its highest point.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of any setting, as often as you like; see --show.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML or JSON file of settings, or a run's config.json.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print every setting and its default, and stop.")] = False,
    start: Start = None,
    resume: Resume = False,
    schedule: Schedule = None,
    download: Annotated[bool, typer.Option("--download", help="Download a tfds:NAME that isn't there.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of TensorFlow Datasets' sets.")] = None,
    *,
    options: Options,
) -> None:
    """Train a preset on a data source, or on two."""
    sources, given = sources_of(data, data_a, data_b, swap), read_settings(config) if config else {}
    sizes = {"image_size": image_size, "recipe.learning_rate": learning_rate}
    own = {name: value for name, value in sizes.items() if value is not None} | parse_settings(changes or ())
    if output is not None:
        RunFolder(output).check(resume)
    elif not show:
        raise UserError("Nothing says where to: give --output, the run folder.")
    named = {} if is_run(given) else given.keys() - {"preset"}  # a run's file may hold older ones
    check_settings(preset, [*own, *named])
    if options.monitor is not None:
        check_monitor(preset, options.monitor)
    import_tensorflow()
    from kerasgen.commands.settings import settings_in, shown_settings
    from kerasgen.commands.train import train as run_training

    if show:
        print_table("Setting", shown_settings(preset, sources))
        return
    assert output is not None  # or it was refused above
    run = run_training(
        preset,
        output,
        sources,
        epochs,
        seed,
        batch_size=batch_size,
        resume=resume,
        options=options,
        download=download,
        data_dir=None if data_dir is None else str(data_dir),
        settings=settings_in(given, preset) | own,
        schedule=schedule,
        start=start,
    )
    print_last(run.history)
    typer.echo(f"The model is {run.folder / 'model.keras'}; look at the pictures and curves.png beside it.")
    folder, use = quote(str(run.folder)), []
    if run.model.generates:
        use.append(f"kerasgen generate {folder} --output {folder}/generated --n 16")
    if run.model.translators():
        use.append(f"kerasgen translate {folder} --input YOUR_PICTURES --output {folder}/translated")
    print_next(
        *use,
        f"kerasgen evaluate {folder}",
        f"kerasgen export {folder} --output saved_models/{quote(run.folder.resolve().name)}",
    )


@_command()
@with_options
def distill(
    model: Annotated[Path, typer.Argument(help="The teacher: a run folder of a translator, or a trained preset.")],
    output: Annotated[Path, typer.Option(help="Folder of the student's run.")],
    data: Annotated[
        str | None, typer.Option(help="Pictures such as folder:PATH; by default what the teacher was trained on.")
    ] = None,
    data_a: Annotated[str | None, typer.Option(help="Two sources, which tell the truth too: the pictures.")] = None,
    data_b: Annotated[str | None, typer.Option(help="Two sources: what they should become.")] = None,
    direction: Annotated[str, typer.Option(help="a2b, or b2a for the way back.")] = "a2b",
    epochs: Annotated[int | None, typer.Option(help="How often to go through the data; else the teacher's.")] = None,
    seed: Seed = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE, as often as you like: filters=16 of the network, or a setting."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(help="NAME=VALUE,VALUE: a student for each, side by side in dB, milliseconds and bytes."),
    ] = None,
    start: Start = None,
    resume: Resume = False,
    schedule: Schedule = None,
    *,
    options: Options,
) -> None:
    """Train a small network to answer as a trained translator does, for phones and browsers."""
    sources, settings = sources_of(data, data_a, data_b), parse_settings(changes or ())
    training: dict[str, Config] = {"data": sources, "direction": direction, "epochs": epochs, "seed": seed}
    training |= {"resume": resume, "options": options, "settings": settings, "schedule": schedule, "start": start}
    if sweep is not None:
        _sweep(model, output, sweep, training)
        return
    RunFolder(output).check(resume)
    import_tensorflow()
    from kerasgen.commands.distill import distill as run_distillation

    run = run_distillation(model, output, **training)
    print_last(run.history)
    for name, cost in run.model.costs().items():
        typer.echo(f"{name}: {cost}")
    folder = quote(str(run.folder))
    print_next(
        f"kerasgen evaluate {folder}",
        f"kerasgen export {folder} --output saved_models/{quote(run.folder.resolve().name)} --format tflite",
    )


def _sweep(model: Path, output: Path, text: str, training: dict[str, Config]) -> None:
    setting, choices = parse_sweep(text)
    import_tensorflow()
    from kerasgen.commands.distill_sweep import HEAD
    from kerasgen.commands.distill_sweep import sweep as run_sweep

    found = run_sweep(model, output, setting, choices, **training)
    print_grid((setting, *HEAD), found.rows(), found.caption)
    for sentence in found.refused:
        typer.echo(sentence)
    best = max((point for point in found.points if point.on_front), key=lambda point: point.psnr)
    print_next(
        f"kerasgen export {quote(best.run)} --output saved_models/{quote(Path(best.run).name)} --format tflite"
    )
