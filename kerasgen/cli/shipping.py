"""Commands that turn trained networks into files, and prove these."""

import functools
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from kerasgen import values
from kerasgen.cli.parameters import Condition, with_format_options
from kerasgen.cli.tensorflow import import_tensorflow
from kerasgen.entry import checked_command
from kerasgen.errors import UserError
from kerasgen.tables import print_benchmark, print_comparison, print_measurements, print_next

app = typer.Typer()
_command = functools.partial(checked_command, app)


@_command()
@with_format_options
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
    if output:
        _check_options(options, [name for name, _ in wanted])
    import_tensorflow()
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
            if shipment.size_said and "tflite" in dict(wanted):
                typer.echo(shipment.size_said)
            if serving:
                served_as = _served_as(name, shipment.name, alone=len(networks) == 1)
                given = {"inputs": shipment.inputs, "image": shipment.image, "also": shipment.also or None}
                given |= {"label": label, "license": license, "same_network": name is None}
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
    import_tensorflow()
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
    import_tensorflow()
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
    import_tensorflow()
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
    import_tensorflow()
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


def _check_options(given: dict[str, str | int | None], formats: list[str]) -> None:
    """Refuse an option that was given, but that none of the formats has."""
    from kerasgen.export.formats.registry import options_of

    taken = {option for name in formats for option in options_of(name, given)}
    for option, value in given.items():
        if value is not None and option not in taken:
            raise UserError(f"--{option} is {value}, but {', '.join(formats)} has no such option: leave it out.")
