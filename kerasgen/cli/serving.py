"""Commands that serve models, and ask servers."""

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from kerasgen.cli.tensorflow import import_tensorflow
from kerasgen.entry import checked_command
from kerasgen.tables import print_table, print_written

app = typer.Typer()
_command = functools.partial(checked_command, app)


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
    import_tensorflow()
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
    import_tensorflow()
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
        labels = ", ".join(version.labels) or ("no label" if version.default else "not loaded")
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
    print_written(len(result.written), len(result.skipped), output)
