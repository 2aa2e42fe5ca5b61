"""Find the formats: every public module of this package that has a `SUFFIX` is one."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from kerasgen.errors import UserError

from ..contract.signature import Signature, facing
from ..contract.spec import ImageSpec
from ..gate.runtime import Arrays


@dataclass(frozen=True)
class Request:
    """What a format is asked to write.

    Attributes:
        signatures: by name, `serving_default` first: `Signature`, or what is used like one.
        variant: one of the format's.
        inputs: real inputs of `serving_default`, as a client sends them.
        calibration: examples as a client sends them, for a variant that measures activations.
        opset: ONNX's, if one is asked for.
        notes: what a client must know, to be kept inside the artifact.
    """

    signatures: Mapping[str, Any]
    variant: str
    inputs: Arrays
    calibration: Any = None
    opset: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def formats() -> dict[str, ModuleType]:
    """Return the format modules by name; a new file is found without being registered anywhere."""
    names = [m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name[0] != "_"]
    modules = {name: importlib.import_module(f"{__package__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "SUFFIX")}


def available_formats() -> dict[str, tuple[str, ...]]:
    """Return the variants that each format can be exported in, such as `{"onnx": ("float32", ...)}`."""
    return {name: module.VARIANTS for name, module in formats().items()}


def find_format(name: str, variant: str, options: Mapping[str, Any]) -> ModuleType:
    """Return the module of a format.

    Raises:
        UserError: there is no such format, or it has no such variant or option.
    """
    known = formats()
    if name not in known:
        raise UserError(f"There is no export format {name!r}: choose one of {', '.join(known)}.")
    variants = known[name].VARIANTS
    if "," in variant or "+" in variant:
        raise UserError(
            f"The variant {variant!r} asks for more than one rounding in one artifact: "
            f"export once for each of {', '.join(variants)}."
        )
    if variant not in variants:
        raise UserError(f"{name} has no variant {variant!r}: choose one of {', '.join(variants)}.")
    for option, value in options.items():
        if value and option not in getattr(known[name], "OPTIONS", ()):
            raise UserError(f"{name} has no option {option!r}, but {value!r} was given: leave it out.")
    return known[name]


def signatures_of(
    module: ModuleType, network: Signature, image: ImageSpec | None, also: Mapping[str, Signature], layout: str
) -> dict[str, Any]:
    """Return what an artifact of this format offers by name, `serving_default` first."""
    if hasattr(module, "signatures"):
        return module.signatures(network, image, also)
    return {"serving_default": facing(network, image, layout)}


def artifact_path(path: Path, module: ModuleType, variant: str) -> Path:
    """Return where an artifact goes: `digits` becomes `digits.onnx`, or `digits.float16.onnx`.

    A path that ends with the format's suffix is used as it is.
    """
    if path.name.endswith(module.SUFFIX):
        return path
    middle = "" if variant == "float32" else f".{variant}"
    return path.with_name(path.name + middle + module.SUFFIX)


def format_of(path: Path) -> str:
    """Return the format's name of an artifact that exists.

    Raises:
        UserError: nothing is there, or its suffix belongs to no format.
    """
    for name, module in formats().items():
        if path.name.endswith(module.SUFFIX) and path.exists():
            return name
    suffixes = ", ".join(module.SUFFIX for module in formats().values())
    problem = "is not an artifact" if path.exists() else "doesn't exist"
    raise UserError(f"{path} {problem}: give a path that ends with one of {suffixes}.")
