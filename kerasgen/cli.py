"""The command line: thin; every command is a few lines over the public API, which it imports when it runs."""

import dataclasses
import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, get_type_hints

import typer

from kerasgen import __version__, values
from kerasgen.commands.arguments import parse_settings, parse_sweep, read_settings, sources_of
from kerasgen.commands.options import Options
from kerasgen.declared import Described, check_monitor, check_settings, described_presets
from kerasgen.entry import checked_command, run
from kerasgen.errors import UserError
from kerasgen.runs import RunFolder
from kerasgen.tables import (
    print_benchmark,
    print_comparison,
    print_grid,
    print_last,
    print_measurements,
    print_next,
    print_report,
    print_table,
)
from kerasgen.typing import Config

app = typer.Typer(
    help="Generative image models for Keras 3: train them, generate, and export them proven equal.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_command = functools.partial(checked_command, app)
Seed = Annotated[int, typer.Option(help="Start of the random numbers: the same seed gives the same result.")]
Start = Annotated[
    str | None, typer.Option("--from", help="Begin with the weights of a run, a .keras file or a preset.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder, to the bit.")]
Condition = Annotated[
    list[str] | None,
    typer.Option(help="What is known of all pictures, as tone=dark: the files take pictures alone."),
]
Schedule = Annotated[str | None, typer.Option(help="With more epochs: restart or extend the learning rate's course.")]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"kerasgen {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Train generative image models for Keras 3, generate with them, and export them proven equal."""


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
    _import_tensorflow()
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


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of `Options`, which it takes together as `options`."""
    fields = dataclasses.fields(Options)
    kinds = get_type_hints(Options)
    signature = inspect.signature(command)

    @functools.wraps(command)
    def run(**given: Config) -> None:
        options = Options(**{declared.name: given.pop(declared.name) for declared in fields})
        command(**given, options=options)

    def parameter(declared: "dataclasses.Field[object]") -> inspect.Parameter:
        # A switch has no opposite: nothing switches it on but itself.
        names = (f"--{declared.name.replace('_', '-')}",) if kinds[declared.name] is bool else ()
        return inspect.Parameter(
            declared.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=declared.default,
            annotation=Annotated[kinds[declared.name], typer.Option(*names, help=declared.metadata["help"])],
        )

    own = [known for known in signature.parameters.values() if known.name != "options"]
    taken = [*own, *map(parameter, fields)]
    run.__annotations__ = {known.name: known.annotation for known in taken}
    return _taking(taken, run)


def _taking(parameters: list[inspect.Parameter], function: Callable[..., None]) -> Callable[..., None]:
    """Make Typer see other parameters than a function's own."""
    vars(function)["__signature__"] = inspect.Signature(parameters)
    return function


@_command()
@_with_options
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
    check_settings(preset, [*own, *({} if "preset" in given else given)])  # a run's file may hold older ones
    if options.monitor is not None:
        check_monitor(preset, options.monitor)
    _import_tensorflow()
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
        f"kerasgen export {folder} --output saved_models/{quote(run.folder.name)}",
    )


@_command()
@_with_options
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
    _import_tensorflow()
    from kerasgen.commands.distill import distill as run_distillation

    run = run_distillation(model, output, **training)
    print_last(run.history)
    for name, cost in run.model.costs().items():
        typer.echo(f"{name}: {cost}")
    folder = quote(str(run.folder))
    print_next(
        f"kerasgen evaluate {folder}",
        f"kerasgen export {folder} --output saved_models/{quote(run.folder.name)} --format tflite",
    )


def _sweep(model: Path, output: Path, text: str, training: dict[str, Config]) -> None:
    setting, choices = parse_sweep(text)
    _import_tensorflow()
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


@_command()
def generate(
    model: Annotated[Path, typer.Argument(help="A run folder, a .keras file, or a trained preset.")],
    output: Annotated[Path, typer.Option(help="Folder for grid.png and the single pictures.")],
    n: Annotated[int, typer.Option(help="How many pictures.")] = 64,
    sampler: Annotated[str, typer.Option(help="Where latents come from; `kerasgen list` shows the names.")] = "prior",
    label: Annotated[
        str | None, typer.Option(help="Number or folder name of a class; by default all in turn.")
    ] = None,
    where: Annotated[str | None, typer.Option(help='Evidence, such as "smiling=1 & male=0" or "label=cats".')] = None,
    temperature: Annotated[
        float, typer.Option(help="Below 1 more typical pictures, above 1 more varied ones.")
    ] = 1.0,
    data: Annotated[
        str | None, typer.Option(help="Pictures that the sampler learns from; by default the training's.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Generate pictures with a trained model, and say where each latent came from."""
    _import_tensorflow()
    from kerasgen.commands.generate import (
        class_names_of,
        class_of,
        generate_pictures,
        generating_model,
        ready_sampler,
        save_generated,
        with_class_names,
    )
    from kerasgen.samplers.attributes import parse_where

    found = generating_model(model)
    names = class_names_of(found, model, None) if label is not None or where or sampler != "prior" else ()
    asked = parse_where(where, names) if where else None
    wanted = None if label is None else class_of(label, names)
    fitted, encoded = ready_sampler(found, model, sampler, asked, wanted, data, temperature)
    evidence = (asked or {}) | ({} if wanted is None else {"label": wanted})
    generated = with_class_names(generate_pictures(found, fitted, n, seed, evidence or None, encoded=encoded), names)
    save_generated(generated, output)
    if fitted.explains:
        for i, rule in enumerate(generated.origin):
            typer.echo(f"{i:04d}.png: {rule}")
        if not found.conditional:
            fitted.plot(output / "tree.png", found.decode)
    typer.echo(f"{n} {'picture is' if n == 1 else 'pictures are'} in {output}; look at grid.png.")
    print_next(f"kerasgen evaluate {quote(str(model))} --sampler {quote(sampler)}")


@_command()
def interpolate(
    model: Annotated[Path, typer.Argument(help="A run folder, a .keras file, or a trained preset: a VAE.")],
    start: Annotated[Path, typer.Option("--from", help="The first picture.")],
    end: Annotated[Path, typer.Option("--to", help="The last picture.")],
    output: Annotated[Path, typer.Option(help="Folder for way.png and the single pictures.")],
    steps: Annotated[int, typer.Option(help="Pictures on the way, with both ends.")] = 8,
    label: Annotated[str | None, typer.Option(help="The class of both, by number or folder name.")] = None,
) -> None:
    """Go from one picture to another through a VAE's latent space."""
    for path in (start, end):
        if not path.is_file():
            raise UserError(f"There is no file {path}: give a picture.")
    _import_tensorflow()
    from kerasgen.commands.generate import class_names_of, class_of, generating_model
    from kerasgen.commands.interpolate import interpolate_pictures
    from kerasgen.commands.translate import ranges_of

    found = generating_model(model)
    wanted = None if label is None else class_of(label, class_names_of(found, model, None))
    interpolate_pictures(found, start, end, output, steps, wanted, ranges_of(model)[0])
    typer.echo(f"{steps} pictures are in {output}; look at way.png.")


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
    _import_tensorflow()
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
    _import_tensorflow()
    from kerasgen.commands.compare import compare as compare_runs

    print_table("Run", {run.name: run.verdict for run in compare_runs(runs, output)})
    typer.echo(f"Look at {output} in a browser.")


@_command()
def translate(
    model: Annotated[Path, typer.Argument(help="A run folder, a trained preset, or a .keras file of a generator.")],
    input: Annotated[
        Path,
        typer.Option(help="Folder of pictures, or one; PATH?range=0..4095 says black and white of deep ones."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the translations, PNG or deep files of the same names.")],
    direction: Annotated[str, typer.Option(help="a2b, or b2a for the way back.")] = "a2b",
    condition: Annotated[
        list[str] | None, typer.Option(help="What is known of all pictures, as tone=dark; several may be given.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="The most to use, such as 2GB; by default half of what is free.")
    ] = None,
) -> None:
    """Translate, enlarge or restore a folder of pictures with a trained model."""
    from kerasgen.data.sources.folder import place_of
    from kerasgen.data.targets import check_source
    from kerasgen.memory import parse_bytes

    check_source(place_of(str(input))[0])
    given = parse_bytes(memory) if memory else None
    _import_tensorflow()
    from kerasgen.commands.conditions import without_condition
    from kerasgen.commands.translate import ranges_of, translate_folder
    from kerasgen.runs import data_of, load_model

    network = without_condition(load_model(model), data_of(model), condition or ())
    result = translate_folder(network, input, output, direction, *ranges_of(model, direction), given)
    typer.echo(_said(len(result.written), len(result.skipped), output))
    print_next(f"kerasgen export {quote(str(model))} --output saved_models/{quote(model.stem)}")


def _with_format_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that the export formats declare, in place of its `**options`."""
    from kerasgen.export.formats.registry import format_options

    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    declared = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[option.type | None, typer.Option(help=f"{', '.join(titles)}: {option.help}")],
        )
        for option, titles in format_options().items()
    ]

    def with_options(*arguments: Config, **keywords: Config) -> None:
        command(*arguments, **keywords)

    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    return _taking([*own, *declared], with_options)


@_command()
@_with_format_options
def export(
    model: Annotated[Path, typer.Argument(help="A run folder, a trained preset, or a .keras file of any model.")],
    output: Annotated[Path | None, typer.Option(help="Folder for the artifacts.")] = None,
    format: Annotated[str, typer.Option(help="Formats, separated by commas; `kerasgen list` shows them.")] = (
        "saved_model,tflite,onnx"
    ),
    variant: Annotated[str, typer.Option(help="Variants, separated by commas: where a format offers them.")] = (
        "float32"
    ),
    size: Annotated[int | None, typer.Option(help="Pixels of square pictures; the model's own by default.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Pictures to compare on; else the run's validation data.")
    ] = None,
    floats: Annotated[
        bool, typer.Option("--floats", help="Files take and give floats, as the network does, instead of bytes.")
    ] = False,
    range: Annotated[
        str | None, typer.Option(help="LOW,HIGH: black and white in a model from elsewhere, such as -1,1.")
    ] = None,
    license: Annotated[str, typer.Option(help="License of the weights, to write into the files.")] = "",
    serving: Annotated[
        Path | None, typer.Option(help="Folder of TensorFlow Serving: publish the next version there.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --serving: the model's name there.")] = None,
    label: Annotated[str, typer.Option(help="With --serving: what clients may call the version by.")] = "stable",
    page: Annotated[Path | None, typer.Option(help="Folder of a page that runs the model in browsers.")] = None,
    condition: Condition = None,
    **options: str | int | None,
) -> None:
    """Export a trained model's networks, each artifact verified in a fresh process before it is published."""
    if output is None and serving is None and page is None:
        raise UserError(
            "Nothing says where to: give --output for artifacts, --serving for TensorFlow Serving, or --page for a "
            "page."
        )
    if name is not None and serving is None:
        raise UserError("--name is of a model that is served: give --serving too.")
    value_range = None if range is None else values.pair("--range", range)
    if page is not None:
        _export_page(model, page, images, size, value_range, license, condition or ())
    if output is None and serving is None:
        return
    wanted = _formats_and_variants(format, variant) if output else []
    _import_tensorflow()
    from kerasgen.commands.ship import export_each, shipments
    from kerasgen.export import benchmark, imported_once
    from kerasgen.export.serving import export_serving

    written: list[Path] = []
    failed: dict[str, UserError] = {}
    with imported_once():
        networks = shipments(model, images, size, floats, value_range, condition=condition)
        for shipment in networks:
            if shipment.floats_said:
                typer.echo(shipment.floats_said)
            if serving:
                served_as = _served_as(name, shipment.name, alone=len(networks) == 1)
                given = {"inputs": shipment.inputs, "image": shipment.image, "also": shipment.also or None}
                given |= {"label": label, "license": license}
                served = export_serving(shipment.network, serving, served_as, **given)
                typer.echo(f"{served.path} is published; {served.path.parent / 'README.md'} says how it is asked.")
            if not output:
                continue
            paths, errors = export_each(shipment, output, wanted, license, options)
            if paths:
                print_measurements(benchmark(paths, shipment.network, shipment.inputs))
            written, failed = written + paths, failed | errors
    if failed:
        _say_failed(failed, len(written))
    if written:
        told = _told(condition)
        print_next(
            f"kerasgen verify {quote(str(written[0]))} --against {quote(str(model))} --images YOUR_PICTURES{told}"
        )
    elif serving:
        print_next(f"kerasgen serving list {quote(str(serving))}", f"kerasgen serve {quote(str(serving))}")


def _served_as(name: str | None, network: str, alone: bool) -> str:
    """Return a network's name on the server: the one asked for, with its own behind it where there are more."""
    if name is None:
        return network
    return name if alone else f"{name}_{network}"


def _told(condition: list[str] | None) -> str:
    """Return the options that tell a further command the same of the pictures."""
    return "".join(f" --condition {quote(known)}" for known in condition or ())


def _say_failed(failed: dict[str, UserError], written: int) -> None:
    """Name the artifacts that failed, and end with 1; what lets none of them be written is a mistake like others."""
    if not written and len({str(error) for error in failed.values()}) == 1:
        raise next(iter(failed.values()))
    for name, error in failed.items():
        typer.echo(f"Error: {name} failed: {error}", err=True)
    typer.echo(f"{written} of {written + len(failed)} artifacts stand.", err=True)
    raise typer.Exit(1)


def _export_page(
    model: Path,
    page: Path,
    images: Path | None,
    size: int | None,
    value_range: tuple[float, float] | None,
    license: str,
    condition: Sequence[str],
) -> None:
    _import_tensorflow()
    from kerasgen.commands.page import export_page

    folder = export_page(model, page, images, size, value_range, license, condition)
    typer.echo(f"The page is in {folder}; look at it by: python -m http.server --bind 127.0.0.1 --directory {folder}")


@_command()
def verify(
    artifact: Annotated[Path, typer.Argument(help="What `kerasgen export` wrote.")],
    against: Annotated[Path, typer.Option(help="The run folder or .keras file that it was exported from.")],
    images: Annotated[Path | None, typer.Option(help="Your pictures; else the run's validation data.")] = None,
    condition: Condition = None,
) -> None:
    """Compare an artifact with its Keras model on real pictures, and draw the three that differ most."""
    _check_artifacts([artifact])
    _import_tensorflow()
    from kerasgen.commands.ship import verify_artifact, worst_picture
    from kerasgen.drawing import save_png

    report, spec = verify_artifact(artifact, against, images, condition)
    for compared in report.comparisons:
        print_comparison(compared)
    picture = worst_picture(report, spec)
    if picture is not None:
        file = artifact.with_name(f"{artifact.name}.worst.png")
        save_png(file, picture)
        typer.echo(f"The three that differ most are in {file}.")
    failed = [f"{check.name}: {check.found}" for check in report.checks if not check.passed]
    if failed:
        typer.echo(f"{artifact} is not equal to {against} ({'; '.join(failed)}).", err=True)
        raise typer.Exit(1)
    typer.echo(f"{artifact} passed: {'; '.join(check.found for check in report.checks if check.name == 'parity')}.")
    print_next(f"kerasgen benchmark {quote(str(artifact))} --against {quote(str(against))}{_told(condition)}")


@_command("benchmark")
def benchmark_artifacts(
    artifacts: Annotated[list[Path], typer.Argument(help="What `kerasgen export` wrote.")],
    against: Annotated[Path | None, typer.Option(help="The run or .keras file, for the parity.")] = None,
    condition: Condition = None,
) -> None:
    """Measure artifacts of one network side by side: size, loading, latency, the graph's nodes."""
    _check_artifacts(artifacts)
    _import_tensorflow()
    from kerasgen.commands.ship import measured_against
    from kerasgen.export import benchmark

    print_benchmark(benchmark(artifacts) if against is None else measured_against(artifacts, against, condition))


@_command("import-torch")
def import_torch_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth file of pytorch-CycleGAN-and-pix2pix.")],
    output: Annotated[Path, typer.Option(help="The .keras file to write.")],
    network: Annotated[
        str | None, typer.Option(help="Which of several in the file: how its keys begin, such as netG.")
    ] = None,
    batch_statistics: Annotated[
        bool, typer.Option("--batch-statistics", help="Batch norms take each picture's own statistics at test too.")
    ] = False,
) -> None:
    """Turn a PyTorch generator or discriminator into a .keras file."""
    if output.suffix != ".keras":
        raise UserError(f"--output is {output}: give a file that ends in .keras.")
    if not checkpoint.is_file():
        raise UserError(f"There is no file {checkpoint}: give a .pth file.")
    _import_tensorflow()
    from kerasgen.commands.torch_import import averages_statistics, import_torch
    from kerasgen.runs import save_model

    imported, description = import_torch(checkpoint, network, batch_statistics)
    save_model(imported, output)
    typer.echo(f"{checkpoint} holds a {description}; it is now {output}.")
    if averages_statistics(imported):
        typer.echo(
            "Its batch norms take the averages of the training, as eval() does; the project's own test script takes "
            "each picture's statistics, and so does --batch-statistics."
        )
    print_next(f"kerasgen export {quote(str(output))} --output saved_models/{quote(output.stem)} --range=-1,1")


@_command()
def card(
    target: Annotated[Path, typer.Argument(help="A run folder, or a preset with trained weights (name or folder).")],
) -> None:
    """Write README.md beside trained weights: what they do, how they were trained, what they are worth."""
    from kerasgen.commands.card import card_folder, write_card

    card_folder(target)  # a mistake is answered before TensorFlow is imported
    _import_tensorflow()
    typer.echo(f"The card is {write_card(target)}.")


@_command("list")
def list_names() -> None:
    """Show the presets, data sources and export formats."""
    from kerasgen.data import available_sources
    from kerasgen.export import available_formats
    from kerasgen.presets import CONVENTION, shipped, worded
    from kerasgen.samplers import SAMPLERS

    def told(name: str, preset: Described) -> str:
        cost = f" ({worded(preset.macs)} at {preset.image_size} pixels)" if preset.macs else ""
        return ": ".join(filter(None, [shipped(name).summary(), preset.description + cost]))

    print_table("Preset", {name: told(name, preset) for name, preset in described_presets().items()})
    typer.echo(f"MAC: {CONVENTION}.")
    print_table("Data source", available_sources())
    print_table("Sampler", {name: (c.__doc__ or "").partition("\n")[0] for name, c in SAMPLERS.items()})
    print_table("Format", {name: ", ".join(variants) for name, variants in available_formats().items()})
    print_next(
        "kerasgen train PRESET --data folder:YOUR_PICTURES --output runs/mine",
        "kerasgen train PRESET --show",
    )


@_command()
def serve(
    models: Annotated[Path, typer.Argument(help="What `kerasgen export --serving` wrote.")],
    grpc_port: Annotated[int, typer.Option(help="Port on this machine; 0 takes a free one.")] = 8500,
    rest_port: Annotated[int, typer.Option(help="Port on this machine; 0 takes a free one.")] = 8501,
    batching: Annotated[bool, typer.Option(help="Run requests together that wait together.")] = True,
    megapixels: Annotated[float, typer.Option(help="The most that one request may ask for.")] = 16,
    memory: Annotated[float, typer.Option(help="GiB that the networks may take while they run.")] = 2,
    trust: Annotated[bool, typer.Option("--trust", help="Run models that may read and write files, too.")] = False,
) -> None:
    """Serve models for development, as TensorFlow Serving does; in production, use TensorFlow Serving."""
    from kerasgen.serve import Limits, Server, allow_many_files, check_folder

    check_folder(models)
    limits = Limits.of(megapixels, memory)
    _import_tensorflow()
    allow_many_files()
    typer.echo("This server is for development, on this machine alone; production is TensorFlow Serving (README.md).")
    with Server(
        models, grpc_port, rest_port, limits=limits, batching=batching, trust=trust, say=typer.echo
    ) as server:
        typer.echo(f"gRPC: 127.0.0.1:{server.grpc_port}; REST: http://127.0.0.1:{server.rest_port}/v1/models/NAME")
        typer.echo(f"Try them in a browser: http://127.0.0.1:{server.rest_port}/")
        server.wait(lambda: typer.echo("Ctrl-C ends it."))
    typer.echo("Stopped.")


@_command()
def demo(
    model: Annotated[Path, typer.Argument(help="A run folder, a .keras file, or a trained preset.")],
    port: Annotated[int, typer.Option(help="Port on this machine; 0 takes a free one.")] = 7860,
    condition: Annotated[
        list[str] | None, typer.Option(help="What is known of all pictures, as tone=dark; several may be given.")
    ] = None,
) -> None:
    """Play with a trained model in a browser, on this machine alone: translate, generate, interpolate."""
    _import_tensorflow()
    from kerasgen.commands.demo import serve_demo

    page, address = serve_demo(model, port, condition or ())
    typer.echo(f"Open {address} in a browser; Ctrl-C ends it.")
    page.block_thread()


serving_app = typer.Typer(help="The versions that TensorFlow Serving loads.", no_args_is_help=True)
app.add_typer(serving_app, name="serving")

Models = Annotated[Path, typer.Argument(help="What `kerasgen export --serving` wrote.")]
Name = Annotated[str, typer.Argument(help="Name of a model.")]


@checked_command(serving_app, "list")
def list_served(models: Models) -> None:
    """Show all versions, their labels, and which one a request gets that names none."""
    from kerasgen.export.serving import list_versions

    def said(version: Any) -> str:
        labels = ", ".join(version.labels) or "not loaded"
        return f"{labels}{'; the default' if version.default else ''}; {version.bytes / 1e6:.1f} MB"

    print_table("Version", {f"{v.model} {v.number}": said(v) for v in list_versions(models)})


@checked_command(serving_app)
def rollback(
    models: Models,
    name: Name,
    version: Annotated[int | None, typer.Option(help="An older one; by default the one before.")] = None,
) -> None:
    """Serve an earlier version again, and unload the newer ones."""
    from kerasgen.export.serving import rollback as roll_back

    typer.echo(f"{name} is served in version {roll_back(models, name, version)} again; newer ones are unloaded.")


@checked_command(serving_app, "label")
def label_served(
    models: Models,
    name: Name,
    label: Annotated[str, typer.Argument(help='Such as "canary".')],
    version: Annotated[int, typer.Argument(help="That gets the label, and is loaded.")],
) -> None:
    """Give a version a label."""
    from kerasgen.export.serving import label_version

    label_version(models, name, label, version)
    typer.echo(f"{name}: {label} is version {version}.")


client_app = typer.Typer(help="Ask a server.", no_args_is_help=True)
app.add_typer(client_app, name="client")


@client_app.callback()
def client(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="http://HOST:8501 or grpc://HOST:8500.")],
) -> None:
    """Ask a server: TensorFlow Serving, or `kerasgen serve`."""
    context.obj = url


@checked_command(client_app, "translate")
def client_translate(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of pictures.")],
    model: Annotated[str, typer.Option(help="The model's name on the server.")],
    output: Annotated[Path, typer.Option(help="Folder for the translations, PNG files of the same names.")],
    label: Annotated[str | None, typer.Option(help="Label of a version; by default the server's choice.")] = None,
    batch: Annotated[int, typer.Option(help="Pictures in one request.")] = 8,
) -> None:
    """Translate a folder of pictures on a server."""
    from kerasgen.serve.client import Client

    with Client(context.obj, model, label=label) as asked:
        result = asked.translate_folder(folder, output, batch)
    typer.echo(_said(len(result.written), len(result.skipped), output))


def _said(written: int, skipped: int, folder: Path) -> str:
    pictures = "1 picture is" if written == 1 else f"{written} pictures are"
    return f"{pictures} in {folder}; {skipped} {'was' if skipped == 1 else 'were'} skipped."


def _check_artifacts(paths: list[Path]) -> None:
    """Raise `UserError` for what is not an artifact, before TensorFlow's seconds."""
    from kerasgen.export.formats.registry import format_of

    for path in paths:
        format_of(path)


def _formats_and_variants(formats: str, variants: str) -> list[tuple[str, str]]:
    """Each format with those of the variants that it has; every variant must be had somewhere."""
    from kerasgen.export import available_formats

    known = available_formats()
    names, kinds = ([part.strip() for part in text.split(",") if part.strip()] for text in (formats, variants))
    for name in names:
        if name not in known:
            raise UserError(f"There is no export format {name!r}: choose one of {', '.join(known)}.")
    for kind in kinds:
        if not any(kind in known[name] for name in names):
            offered = "; ".join(f"{name} has {', '.join(known[name])}" for name in names)
            raise UserError(f"None of the formats has the variant {kind!r}: {offered}.")
    return [(name, kind) for name in names for kind in kinds if kind in known[name]]


def _import_tensorflow() -> None:
    """Import TensorFlow without the lines that its C++ side writes before any log level counts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401

    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def main() -> None:
    """Run the command line: a user's mistake is one sentence and exit code 2."""
    sys.exit(run(app))


if __name__ == "__main__":
    main()
