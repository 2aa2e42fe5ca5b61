"""A trained model as a page for browsers: its networks in ONNX and TFLite, and what is worth saying of them."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kerasgen.commands.ship import Shipment, shipments
from kerasgen.errors import UserError
from kerasgen.export import export_model
from kerasgen.export.page import Page, PageNetwork, kind_of, write_page
from kerasgen.models import presets
from kerasgen.networks.macs import cost
from kerasgen.presets import PresetFolder, shipped
from kerasgen.runs import RunFolder

_FORMATS = ("onnx", "tflite")
_OPEN_SIZE = 256  # pixels, for networks of any size


def export_page(
    model: str | os.PathLike,
    folder: str | os.PathLike,
    images: str | os.PathLike | None = None,
    size: int | None = None,
    value_range: tuple[float, float] | None = None,
    license: str = "",
    condition: Sequence[str] = (),
) -> Path:
    """Write a page that runs a model's networks in the browser: ONNX by ONNX Runtime Web, TFLite by LiteRT.js.

    Args:
        model: a run folder, a trained preset, or a `.keras` file.
        folder: of the page; any file server offers it.
        images: pictures to compare artifacts on; None takes the run's validation data.
        size: pixels of the square pictures; None takes the model's own, or 256.
        value_range: what 0 and 255 are inside a model that isn't of this zoo.
        license: of the weights; "" takes what the preset says.
        condition: what is known of all pictures, such as "tone=dark", for a model that can be told.

    Returns:
        The folder.

    Raises:
        UserError: there is no such model, it has no network for a page, or the folder can't be written.

    Example:
        export_page("vae_digits", "page")
    """
    ready = shipments(model, images, size, value_range=value_range, open_size=_OPEN_SIZE, condition=condition)
    for shipment in ready:
        if shipment.floats_said:
            raise UserError(shipment.floats_said)
    about, said = _about(Path(model), ready)
    license = license or said
    facts = dict(about.facts) | ({"License": license} if license else {})

    def exported(place: Path) -> list[PageNetwork]:
        networks = (_exported(shipment, place, license) for shipment in ready)
        return [network for network in networks if network is not None]

    return write_page(folder, replace(about, facts=facts), exported)


def _exported(shipment: Shipment, place: Path, license: str) -> PageNetwork | None:
    """Export a network into a page's folder; None, and nothing is left there, if it is none for a page."""
    files = {}
    for format in _FORMATS:
        target = place / "models" / shipment.name
        artifact = export_model(shipment.network, target, format, license=license, **shipment.options(format))
        if kind_of(**artifact.signatures["serving_default"]) is None:
            artifact.path.unlink()
            artifact.manifest.unlink()
            return None
        files[format] = artifact.path.relative_to(place).as_posix()
    return PageNetwork(shipment.name, files, shipment.labels)


def _about(path: Path, ready: Sequence[Shipment]) -> tuple[Page, str]:
    """Return what is to be said of a preset's weights, of a run, or of a file; and the license of the first."""
    name, preset, license = path.resolve().name.removesuffix(".keras") if path.exists() else str(path), "", ""
    facts: dict[str, str] = {}
    weights = PresetFolder(path) if path.exists() else shipped(name)
    if weights.exists():
        said = weights.metadata()
        preset, license = said.get("preset", name), said.get("license", "")
        facts = {"Data": _words(said.get("data")), "What fails": said.get("fails", "")}
        facts |= {"Attribution": said.get("attribution", ""), "Saved": said["date_saved"]}
    elif RunFolder(path).exists():
        config = RunFolder(path).config()
        preset = config.get("preset", "")
        facts = {"Data": _words(config.get("data")), "Epochs": str(config.get("epochs", ""))}
    for shipment in ready:
        height, width = shipment.image.height_width if shipment.image else (None, None)
        facts[f"Cost of {shipment.name}"] = str(cost(shipment.network, height or _OPEN_SIZE, width or _OPEN_SIZE))
    described = presets()[preset][1].description if preset in presets() else ""
    return Page(preset or name, described, {fact: text for fact, text in facts.items() if text}), license


def _words(data: object) -> str:
    return ", ".join(f"{name} {value}" for name, value in data.items()) if isinstance(data, dict) else ""
