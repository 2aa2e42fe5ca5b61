"""The command line: thin; every command is a few lines over the public API, which it imports when it runs."""

import sys
from typing import Annotated

import typer

from kerasgen import __version__
from kerasgen.cli import judging, listing, making, serving, shipping, training
from kerasgen.entry import run

app = typer.Typer(
    help="Generative image models for Keras 3: train them, generate, and export them proven equal.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# In the order of the help: what a newcomer needs first.
for commands in (training, making, judging, shipping, listing, serving):
    app.add_typer(commands.app)


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


def main() -> None:
    """Run the command line: a user's mistake is one sentence and exit code 2."""
    sys.exit(run(app))
