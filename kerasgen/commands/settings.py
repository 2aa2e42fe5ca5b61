"""What may be set about a training beside its preset: names, kinds and defaults, read off the code itself."""

import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from kerasgen import values
from kerasgen.commands.arguments import is_run
from kerasgen.declared import NOT_SET, check_known
from kerasgen.errors import UserError
from kerasgen.models import GenerativeModel, find
from kerasgen.models.declarations import Loader
from kerasgen.presets import Preset
from kerasgen.typing import Config

_WORDS = {"NoneType": "null", "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false",
          "list": "a list", "tuple": "a list", "dict": "names and values"}  # fmt: skip
_KINDS: dict[object, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),
    str: (str,),
    bool: (bool,),
    type(None): (type(None),),
    dict: (dict,),
    tuple: (list, tuple),
    Sequence: (list, tuple),
}


@dataclass(frozen=True)
class Setting:
    """One thing that can be set.

    Attributes:
        name: as it is set: the model's arguments as they are, "data." and "recipe." before the others.
        default: what the preset, or else the code, takes.
        kinds: Python's types that fit.
    """

    name: str
    default: object
    kinds: tuple[type, ...]

    @property
    def wanted(self) -> str:
        """The kinds in words."""
        kinds = [kind for kind in self.kinds if not (kind is int and float in self.kinds)]
        return " or ".join(dict.fromkeys(_WORDS.get(kind.__name__, kind.__name__) for kind in kinds))


def settings_of(model_class: type[GenerativeModel], preset: Preset, loader: Loader) -> dict[str, Setting]:
    """Return all that can be set about a preset, by name.

    Args:
        model_class: the preset's model.
        preset: gives the defaults.
        loader: how its data is loaded.
    """
    from kerasgen.data import LOADERS

    groups: tuple[tuple[str, Callable[..., object], dict[str, Config], set[str]], ...] = (
        ("", model_class.__init__, preset.config, set()),
        ("data.", LOADERS[loader.name], preset.data, set(loader.sources)),
        ("recipe.", model_class.compile_for_recipe, preset.recipe, set()),
    )
    found = {"recipe.epochs": Setting("recipe.epochs", preset.recipe["epochs"], (int,))}
    for prefix, function, given, left_out in groups:
        for name, parameter in inspect.signature(function).parameters.items():
            kinds = _kinds(parameter.annotation)
            if set(kinds) - {type(None)} and name not in NOT_SET | left_out and not (prefix and name == "epochs"):
                found[prefix + name] = Setting(prefix + name, given.get(name, parameter.default), kinds)
    return found


def changed(
    model_class: type[GenerativeModel], preset: Preset, loader: Loader, changes: Mapping[str, object]
) -> Preset:
    """Return the preset with some of its settings changed.

    Args:
        model_class: the preset's model.
        preset: which is left as it is.
        loader: how its data is loaded.
        changes: values by the names that `settings_of` has, and "image_size" for data and model together.

    Raises:
        UserError: there is no such setting, or a value doesn't fit.
    """
    known = settings_of(model_class, preset, loader)
    parts: dict[str, dict[str, object]] = {
        "": dict(preset.config),
        "data": {**preset.data},
        "recipe": {**preset.recipe},
    }
    for name, value in changes.items():
        if name == "image_size" and not (name in known and isinstance(value, list | tuple)):
            size = _checked(Setting(name, None, (int,)), value)
            assert isinstance(size, int)  # by its kinds
            parts["data"]["image_size"] = size
            parts[""] = model_class.resized(parts[""], size)
            continue
        check_known(name, [*known, "image_size"], f"There is no setting {name!r}")
        group, _, last = name.rpartition(".")
        parts[group][last] = _checked(known[name], value)
        if last == "learning_rate":
            values.number(name, value, least=0)
    return replace(preset, config=parts[""], data=parts["data"], recipe=parts["recipe"])


def settings_in(found: dict[str, Config], preset: str) -> dict[str, Config]:
    """Return the settings by name that a file of settings holds, or a run's config.json.

    Args:
        found: what `read_json` gave.
        preset: the one that is to be trained.

    Raises:
        UserError: it is of another preset.
    """
    if "preset" not in found:
        return found
    if found["preset"] != preset:
        raise UserError(f"The settings are of the preset {found['preset']!r}, not of {preset!r}: train that one.")
    if not is_run(found):
        return {name: value for name, value in found.items() if name != "preset"}
    return settings_of_run(found, *find(preset))


def settings_of_run(
    found: Mapping[str, Config], model_class: type[GenerativeModel], declared: Preset
) -> dict[str, Config]:
    """Return the settings by name that a run was trained with.

    Args:
        found: its config.json.
        model_class: of its model.
        declared: the preset that it was made of.
    """
    loader = model_class.loader_for(found["data"]) or model_class.loaders[0]
    groups = {"": model_class.upgraded_config(found["config"]), "data.": found["data"], "recipe.": found["recipe"]}
    settings = {prefix + name: value for prefix, group in groups.items() for name, value in group.items()}
    settings["recipe.epochs"] = found["epochs"]
    return {name: value for name, value in settings.items() if name in settings_of(model_class, declared, loader)}


def shown_settings(preset: str, sources: str | Sequence[str] | None) -> dict[str, str]:
    """Return a line about each setting of a preset, by name: its default, and what it takes."""
    model_class, found = find(preset)
    given = () if sources is None else (sources,) if isinstance(sources, str) else tuple(sources)
    loader = next((known for known in model_class.loaders if len(known.sources) == len(given)), None)
    loader = loader or model_class.loader_for(found.data) or model_class.loaders[0]
    known = settings_of(model_class, found, loader)
    return {name: f"{json.dumps(setting.default, default=str)}; {setting.wanted}" for name, setting in known.items()}


def _checked(setting: Setting, value: object) -> object:
    fits = isinstance(value, setting.kinds) and (bool in setting.kinds or not isinstance(value, bool))
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(f"{setting.name} is {value!r}, but it takes {setting.wanted}: give such a value.")
    return value


def _kinds(annotation: object) -> tuple[type, ...]:
    """Return the types that an argument takes as JSON has them; none for networks and the like."""
    options = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    kinds = (_KINDS.get(_origin(option), ()) for option in options)
    return tuple(kind for found in kinds for kind in found)


def _is_union(annotation: object) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _origin(annotation: object) -> object:
    return typing.get_origin(annotation) or annotation
