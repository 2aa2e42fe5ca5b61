"""Presets: a model's configuration, and the recipe that trains it, under a name."""

import importlib
from dataclasses import dataclass, field
from typing import Any

from kerasgen.errors import UserError

# Module of each model: a preset is found without importing the others' networks. A new model adds its line.
MODEL_MODULES = (
    "kerasgen.models.vae",
    "kerasgen.models.cyclegan",
    "kerasgen.models.paired",
    "kerasgen.models.registration",
)


@dataclass(frozen=True)
class Preset:
    """One named configuration.

    Attributes:
        description: one line for `kerasgen list`.
        config: keyword arguments of the model's constructor.
        data: keyword arguments of the data loader, with the source that the recipe was measured on.
        recipe: `epochs`, `learning_rate` and whatever else the model's `compile_for_recipe` takes.
    """

    description: str
    config: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


def presets() -> dict[str, tuple[type, Preset]]:
    """All presets by name: (model class, preset)."""
    found = {}
    for module_name in MODEL_MODULES:
        module = importlib.import_module(module_name)
        for name, preset in module.PRESETS.items():
            found[name] = (module.MODEL, preset)
    return found


def find(name: str) -> tuple[type, Preset]:
    """The model class and the preset of that name.

    Raises:
        UserError: there is none; the sentence lists those that there are.
    """
    known = presets()
    if name not in known:
        raise UserError(f"There is no preset {name!r}: choose one of {', '.join(sorted(known))}.")
    return known[name]
