"""Find the formats: every public module of this package that declares a `FORMAT` is one."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from kerasgen.errors import UserError

from ..contract.calibration import Calibration
from ..contract.format import Format, Option
from ..contract.served import Entry, main_signature, served_signatures
from ..contract.signature import Signature, facing, pictures_of
from ..contract.spec import ImageSpec
from ..gate.runtime import Arrays, Contents, Loaded

Signatures = dict[str, Signature | Entry]


@dataclass(frozen=True)
class Request:
    """What a format is asked to write.

    Attributes:
        signatures: by name, `serving_default` first.
        variant: one of the format's; `export` writes the float32 form that it is made from, `rounded` the variant.
        inputs: real inputs of `serving_default`, as a client sends them.
        calibration: examples as a client sends them, for a variant that measures activations.
        options: of the format, by name; those that the user left out are missing.
        notes: what a client must know, to be kept inside the artifact.
    """

    signatures: Signatures
    variant: str
    inputs: Arrays
    calibration: Calibration | None = None
    options: Mapping[str, str | int] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)

    @property
    def main(self) -> Signature:
        """Return `serving_default`, the only signature that most formats have."""
        return main_signature(self.signatures)


class FormatModule(Protocol):
    """What a module of a format has. The last three run in fresh processes, without Keras and kerasgen."""

    FORMAT: Format

    def export(self, request: Request, path: Path) -> None:
        """Write the float32 form."""

    def rounded(self, request: Request, source: Path, path: Path) -> None:
        """Write a variant of the float32 form `source`; only a format that has other variants needs it."""

    def import_runtime(self) -> object:
        """Import what `contents` and `load` need, and run nothing of it."""

    def contents(self, path: str) -> Contents:
        """Look into an artifact without running anything of it."""

    def load(self, path: str, threads: int) -> Loaded:
        """Load an artifact in its own runtime."""


def formats() -> dict[str, FormatModule]:
    """Return the format modules by name; a new file is found without being registered anywhere."""
    names = [m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name[0] != "_"]
    modules = {name: importlib.import_module(f"{__package__}.{name}") for name in names}
    return {name: cast(FormatModule, m) for name, m in modules.items() if isinstance(vars(m).get("FORMAT"), Format)}


def available_formats() -> dict[str, tuple[str, ...]]:
    """Return the variants of each format whose runtime is installed, such as `{"onnx": ("float32", ...)}`.

    Example:
        available_formats()["onnx"]
    """
    return {name: m.FORMAT.variant_names for name, m in formats().items() if m.FORMAT.available()}


def format_options() -> dict[Option, list[str]]:
    """Return each option that some format has, with the titles of those formats."""
    found: dict[Option, list[str]] = {}
    for module in formats().values():
        for option in module.FORMAT.options:
            found.setdefault(option, []).append(module.FORMAT.title)
    return found


def options_of(name: str, given: Mapping[str, object]) -> dict[str, object]:
    """Return those of the given options that a format has."""
    return {option.name: given.get(option.name) for option in formats()[name].FORMAT.options}


def find_format(name: str, variant: str = "float32") -> FormatModule:
    """Return the module of a format.

    Raises:
        UserError: there is no such format, it has no such variant, or what it needs isn't installed.
    """
    known = formats()
    if name not in known:
        raise UserError(f"There is no export format {name!r}: choose one of {', '.join(known)}.")
    form = known[name].FORMAT
    if variant not in form.variant_names:
        if isinstance(variant, str) and ("," in variant or "+" in variant):
            raise UserError(
                f"The variant {variant!r} asks for more than one rounding in one artifact: "
                f"export once for each of {', '.join(form.variant_names)}."
            )
        raise UserError(f"{name} has no variant {variant!r}: choose one of {', '.join(form.variant_names)}.")
    if form.missing():
        install = f"kerasgen[{form.extra}]" if form.extra else "kerasgen"
        raise UserError(f"{form.title} needs {', '.join(form.missing())}: run pip install '{install}'.")
    return known[name]


def checked_options(name: str, given: Mapping[str, object]) -> dict[str, str | int]:
    """Return the options that were given, None left out.

    Raises:
        UserError: the format has no such option, or the option can't have this value.
    """
    options = {option.name: option for option in formats()[name].FORMAT.options}
    chosen: dict[str, str | int] = {}
    for key, value in given.items():
        if value is None:
            continue
        if key not in options:
            raise UserError(f"{name} has no option {key!r}, but {value!r} was given: leave it out.")
        option = options[key]
        if not isinstance(value, option.type) or isinstance(value, bool):
            raise UserError(f"{key} is {value!r}: give {option.help}")
        if option.choices and value not in option.choices:
            raise UserError(f"There is no {key} {value!r}: choose {' or '.join(map(repr, option.choices))}.")
        chosen[key] = value
    return chosen


def signatures_of(
    form: Format, network: Signature, image: ImageSpec | None, also: Mapping[str, Signature], layout: str
) -> Signatures:
    """Return what an artifact of this format offers by name, `serving_default` first.

    Raises:
        UserError: `image` names pictures that no network has, or what can't be one, or no tensor is one.
    """
    if image is not None and image.pictures is not None:
        known = [name for one in (network, *also.values()) for name in one.own_names()]
        unknown = [name for name in image.pictures if name not in known]
        if unknown:
            raise UserError(
                f"ImageSpec.pictures names {', '.join(map(repr, unknown))}, but the tensors are {', '.join(known)}: "
                "choose among them."
            )
    if image is not None and not any(pictures_of(one, image) for one in (network, *also.values())):
        raise UserError(
            f"{network.model.name!r} has no tensor of the shape [batch, height, width, channels], so none is a "
            "picture: leave the ImageSpec out (--size and --range)."
        )
    if form.several_signatures:
        return served_signatures(network, image, also)
    return {"serving_default": facing(network, image, layout)}


def artifact_path(path: Path, form: Format, variant: str) -> Path:
    """Return where an artifact goes: `digits` becomes `digits.onnx`, or `digits.float16.onnx`.

    A path that ends with the format's suffix is used as it is.
    """
    if path.name.endswith(form.suffix):
        return path
    middle = "" if variant == "float32" else f".{variant}"
    return path.with_name(path.name + middle + form.suffix)


def format_of(path: Path) -> str:
    """Return the format's name of an artifact that exists.

    Raises:
        UserError: nothing is there, or its suffix belongs to no format.
    """
    for name, module in formats().items():
        if path.name.endswith(module.FORMAT.suffix) and path.exists():
            return name
    suffixes = ", ".join(module.FORMAT.suffix for module in formats().values())
    problem = "is not an artifact" if path.exists() else "doesn't exist"
    raise UserError(f"{path} {problem}: give a path that ends with one of {suffixes}.")
