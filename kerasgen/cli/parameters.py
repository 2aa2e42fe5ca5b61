"""What several commands take."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, get_type_hints

import typer

from kerasgen.commands.options import Options
from kerasgen.typing import Config

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


def with_options(command: Callable[..., None]) -> Callable[..., None]:
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


def with_format_options(command: Callable[..., None]) -> Callable[..., None]:
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


def _taking(parameters: list[inspect.Parameter], function: Callable[..., None]) -> Callable[..., None]:
    """Make Typer see other parameters than a function's own."""
    vars(function)["__signature__"] = inspect.Signature(parameters)
    return function
