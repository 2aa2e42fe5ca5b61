"""A page that runs exported networks in a browser: static files, which any file server offers."""

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from kerasgen.errors import UserError
from kerasgen.files import atomic_write

from ..contract.manifest import read_manifest
from .runtimes import copy_runtimes

Labels = Literal["classes", "attributes"]
PAGE = "page.json"


@dataclass(frozen=True)
class PageNetwork:
    """A network on a page.

    Attributes:
        name: that the page shows.
        files: its artifacts by the runtime's kind, "onnx" and "tflite": paths from the page's folder.
        labels: what its input `label` says, if it has one: one of several classes, or 0/1 attributes.
    """

    name: str
    files: Mapping[str, str]
    labels: Labels = "classes"


@dataclass(frozen=True)
class Page:
    """What a page says beside its networks.

    Attributes:
        title: the heading.
        description: a line below it.
        facts: about the model, by name.
    """

    title: str
    description: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def write_page(folder: str | os.PathLike, page: Page, export: Callable[[Path], Sequence[PageNetwork]]) -> Path:
    """Write a page's folder: it appears complete, or what stood there stays.

    The runtimes (ONNX Runtime Web and LiteRT.js) come from this user's cache, or by npm, checked against their
    SHA-512.

    Args:
        folder: is made, or replaced if it holds a page.
        page: what it says.
        export: writes artifacts of networks for which `kind_of` isn't None into the folder given, and says which.

    Returns:
        The folder.

    Raises:
        UserError: something else lies in the folder, no network fits a page, or a runtime can't be had.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / PAGE).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} holds other things than a page: give a folder that is new or empty.")
    with atomic_write(folder) as temporary:
        temporary.mkdir()
        copy_runtimes(temporary / "runtimes")
        shown = [described(temporary, network) for network in export(temporary)]
        if not shown:
            raise UserError(
                "None of the model's networks fits a page: one is needed that makes a gray, RGB or RGBA picture of "
                "one picture, or of a latent z."
            )
        for name in static_files():
            (temporary / name).write_bytes(static_file(name))
        content = {"title": page.title, "description": page.description, "facts": dict(page.facts), "networks": shown}
        (temporary / PAGE).write_text(json.dumps(content, indent=1) + "\n")
    return folder


def described(folder: Path, network: PageNetwork) -> dict[str, object]:
    """Return what the page must know of a network.

    Raises:
        UserError: it is none for a page.
    """
    manifests = {kind: read_manifest(folder / path) for kind, path in network.files.items()}
    # LiteRT's sizes are fixed; others may be open.
    signature = manifests.get("tflite", next(iter(manifests.values())))["signatures"]["serving_default"]
    inputs, outputs = signature["inputs"], signature["outputs"]
    kind = kind_of(inputs, outputs)
    if kind is None:
        raise UserError(
            f"The network {network.name!r} takes or gives other things than a page can show: leave it out."
        )
    files = {
        name: {
            "path": network.files[name],
            "sha256": manifest["sha256"],
            "golden": manifest["golden"],
            "inputs": {n: info["dtype"] for n, info in manifest["signatures"]["serving_default"]["inputs"].items()},
        }
        for name, manifest in manifests.items()
    }
    return page_entry(network.name, kind, inputs, files, network.labels)


def page_entry(
    name: str, kind: str, inputs: Mapping[str, Mapping], files: Mapping[str, object], labels: Labels = "classes"
) -> dict[str, object]:
    """Return a network's entry in page.json."""
    shapes = {n: {"shape": list(info["shape"])} for n, info in inputs.items()}
    return {
        "name": name,
        "kind": kind,
        "picture": next(iter(inputs)) if kind == "translate" else None,
        "inputs": shapes,
        "labels": labels,
        "files": dict(files),
    }


def kind_of(inputs: Mapping[str, Mapping], outputs: Mapping[str, Mapping]) -> str | None:
    """Return "translate" for a network from picture to picture, "generate" from latents z to pictures, or None."""
    if len(outputs) != 1 or not all(map(_is_picture, outputs.values())):
        return None
    if len(inputs) == 1 and all(map(_is_picture, inputs.values())):
        return "translate"
    latent = "z" in inputs and set(inputs) <= {"z", "label"}
    vectors = all(len(info["shape"]) == 2 and info["dtype"] == "float32" for info in inputs.values())
    return "generate" if latent and vectors else None


def _is_picture(info: Mapping) -> bool:
    return info["dtype"] == "uint8" and len(info["shape"]) == 4 and info["shape"][3] in (1, 3, 4)


@functools.cache
def static_files() -> tuple[str, ...]:
    """Return the names of the page's own files; the server asks at every request."""
    return tuple(sorted(path.name for path in resources.files(__package__).joinpath("static").iterdir()))


def static_file(name: str) -> bytes:
    """Return the content of one of the page's own files."""
    return resources.files(__package__).joinpath("static", name).read_bytes()
