"""Commands that make pictures."""

import functools
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from kerasgen.cli.parameters import Seed
from kerasgen.cli.tensorflow import import_tensorflow
from kerasgen.entry import checked_command
from kerasgen.errors import UserError
from kerasgen.tables import print_next, print_written

app = typer.Typer()
_command = functools.partial(checked_command, app)


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
    import_tensorflow()
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
    # Classes that are asked for by their numbers need no data.
    named = where or sampler != "prior" or not (label or "0").isdecimal()
    names = class_names_of(found, model, None) if named else ()
    asked = parse_where(where, names) if where else None
    if label is not None and "label" in (asked or {}):
        raise UserError(f"--label {label} and --where {where} both say the label: give one of them.")
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
    import_tensorflow()
    from kerasgen.commands.generate import class_names_of, class_of, generating_model
    from kerasgen.commands.interpolate import interpolate_pictures
    from kerasgen.commands.translate import ranges_of

    found = generating_model(model)
    wanted = None if label is None else class_of(label, class_names_of(found, model, None))
    interpolate_pictures(found, start, end, output, steps, wanted, ranges_of(model)[0])
    typer.echo(f"{steps} pictures are in {output}; look at way.png.")


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
    import_tensorflow()
    from kerasgen.commands.conditions import without_condition
    from kerasgen.commands.translate import ranges_of, translate_folder
    from kerasgen.runs import data_of, load_model

    network = without_condition(load_model(model), data_of(model), condition or ())
    result = translate_folder(network, input, output, direction, *ranges_of(model, direction), given)
    print_written(len(result.written), len(result.skipped), output)
    print_next(f"kerasgen export {quote(str(model))} --output saved_models/{quote(model.stem)}")
