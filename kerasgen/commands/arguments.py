"""What the command line's arguments say, as far as it can be read before TensorFlow is imported."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from kerasgen import untrusted
from kerasgen.errors import UserError


def sources_of(
    data: str | None, data_a: str | None, data_b: str | None, swap: bool = False
) -> str | tuple[str, str] | None:
    """Return the sources that three options of the command line name, as `train` takes them.

    Args:
        data: the one source.
        data_a: domain A.
        data_b: domain B.
        swap: whether A and B change places.

    Raises:
        UserError: one domain lacks the other, both ways are used at once, or there are no two to be swapped.
    """
    from kerasgen.data.loading import halves_of

    if data is not None and (data_a or data_b) is not None:
        raise UserError("Both --data and --data-a or --data-b were given: give --data, or the other two.")
    if (data_a is None) != (data_b is None):
        missing = "--data-b" if data_b is None else "--data-a"
        raise UserError(f"Only one of two domains was given: give {missing} too.")
    if data_a is not None and data_b is not None:
        return (data_b, data_a) if swap else (data_a, data_b)
    if swap and data is None:
        raise UserError(
            "--swap changes the places of A and B: give --data side_by_side:PATH, or --data-a and --data-b."
        )
    return halves_of(data)[::-1] if swap and data is not None else data


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """Return values by name of texts such as "latent_dim=32" or "recipe.learning_rate=1e-4".

    A value is read as JSON; what isn't JSON is text.

    Raises:
        UserError: there is no "=".
    """
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.strip()):
            raise UserError(f"--set is {text!r}: write it as NAME=VALUE, such as latent_dim=32.")
        try:
            found[name.strip()] = untrusted.parse_json(value)
        except ValueError:
            found[name.strip()] = {"True": True, "False": False, "None": None}.get(value.strip(), value.strip())
    return found


def parse_sweep(text: str) -> tuple[str, list[object]]:
    """Return the name of a setting and its values of a text such as "filters=8,16,32".

    Each value is read as JSON; where one isn't JSON, all are text.

    Raises:
        UserError: there is no "=" or no value.
    """
    name, equals, listed = text.partition("=")
    if not (equals and name.strip() and listed.strip()):
        raise UserError(f"--sweep is {text!r}: write it as NAME=VALUE,VALUE, such as filters=8,16,32.")
    try:
        return name.strip(), list(cast("list", untrusted.parse_json(f"[{listed}]")))
    except ValueError:
        return name.strip(), [value.strip() for value in listed.split(",")]


def read_settings(path: str | os.PathLike) -> dict[str, object]:
    """Return what a JSON or YAML file of settings holds, which may name their "preset"; a run's config.json is one.

    Args:
        path: of the file; one that ends in .yaml or .yml is YAML.

    Raises:
        UserError: it can't be read.
    """
    advice = "give a file of settings by name"
    if Path(path).suffix.lower() in (".yaml", ".yml"):
        return _flat(untrusted.read_yaml(path, "a YAML file of settings", advice))
    return _flat(untrusted.read_json(path, {}, "a JSON file of settings", advice))


def is_run(found: Mapping[str, object]) -> bool:
    """Return whether a file of settings is a run's config.json."""
    return found.keys() >= {"preset", "config", "data", "recipe", "epochs"}


def _flat(found: dict[str, object]) -> dict[str, object]:
    """Return settings by name where "data" and "recipe" hold theirs; a run stays what it is."""
    if is_run(found):
        return found
    flat: dict[str, object] = {}
    for name, value in found.items():
        if name in ("data", "recipe") and isinstance(value, dict):
            flat |= {f"{name}.{inner}": setting for inner, setting in value.items()}
        else:
            flat[name] = value
    return flat
