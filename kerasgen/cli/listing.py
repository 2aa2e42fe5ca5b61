"""The command that says what there is."""

import typer

from kerasgen.declared import Described, described_presets
from kerasgen.entry import checked_command
from kerasgen.tables import print_next, print_table

app = typer.Typer()


@checked_command(app, "list")
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
