"""What a preset is: a model's configuration, and the recipe that trains it, under a name."""

from dataclasses import dataclass, field
from typing import Any


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
