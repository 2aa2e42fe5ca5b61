"""How the command line is entered and left: values are checked, mistakes are one sentence, nothing stays behind."""

import functools
import io
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from kerasgen import values
from kerasgen.errors import Stopped, UserError, sentence
from kerasgen.files import scratch_for_all
from kerasgen.presets import check_name
from kerasgen.runs import check_model


def _model(name: str, value: object) -> None:
    if isinstance(value, Path):  # elsewhere --model is a word
        check_model(value)


# What the arguments and options of these names take, whatever the command.
_KINDS: dict[str, Callable[[str, Any], object]] = {
    "seed": values.seed,
    "model": _model,
    "preset": lambda _, value: check_name(value),
    **dict.fromkeys(("n", "k", "epochs", "batch_size", "checkpoint_steps", "keep", "batch"), values.whole),
    **dict.fromkeys(("size", "image_size"), values.pixels),
    **dict.fromkeys(("temperature", "megapixels"), functools.partial(values.number, above=0)),
    "learning_rate": functools.partial(values.number, least=0),
    **dict.fromkeys(("grpc_port", "rest_port", "port"), values.port),
}


# What stands behind an option in the help, by the type of its value.
_WORDS = {"str": "text", "list[str]": "text", "int": "number", "float": "number", "path": "path"}


class Command(TyperCommand):
    """A command whose help says what an option takes in words; a switch takes nothing."""

    def get_params(self, ctx: typer.Context) -> list:  # type: ignore[override]  # Typer hides its own Context
        """Return the parameters, each with its word."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            if isinstance(parameter, TyperOption) and parameter.metavar is None:
                word = _WORDS.get(parameter.bare_type().lower(), "value")
                parameter.metavar = "" if parameter.is_flag else f"<{word}>"
        return parameters


def checked_command(
    group: typer.Typer, name: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command of a group; its values are checked by their kinds before it runs."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def checked(**given: Any) -> None:
            for key in given.keys() & _KINDS.keys():
                if given[key] is not None:
                    _KINDS[key](f"--{key.replace('_', '-')}", given[key])
            function(**given)

        return group.command(name, cls=Command)(checked)

    return register


def run(app: typer.Typer) -> int:
    """Run the command line, and return its exit code: a user's mistake is one sentence and 2."""
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    try:
        _refuse_nothing(sys.argv[1:])
        with _ending(), scratch_for_all():
            code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Error: Stopped by Ctrl-C.", err=True)
        code = 128 + signal.SIGINT
    except (UserError, typer.TyperException) as error:
        if said := _said(error):
            typer.echo(f"Error: {said}", err=True)
        code = error.exit_code
    return code or 0


def _said(error: UserError | typer.TyperException) -> str:
    """Return the sentence; for a command line that can't be read, with the command that explains it."""
    said, context = str(error), getattr(error, "ctx", None)
    if isinstance(error, UserError) or not said:  # without any argument the help was printed
        return said
    advice = f" Try '{context.command_path} --help'." if context else ""
    return sentence(f"{error.format_message().rstrip('.')}.{advice}")


def _refuse_nothing(arguments: list[str]) -> None:
    """Raise `UserError` for an empty argument: a path would be taken for the present folder."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            name = (argument or before).rstrip("=") or "An argument"
            raise UserError(f"{name} is empty: give a value, or leave it out.")


@contextmanager
def _ending() -> Iterator[None]:
    """End by an exception on SIGTERM, so that what is temporary is removed."""
    former = signal.signal(signal.SIGTERM, lambda *_: sys.exit(Stopped.exit_code))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"Warning: {sentence(message)}", err=True)
