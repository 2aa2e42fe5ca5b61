"""The card of trained weights: what they do, how they were trained, what they are worth, all from JSON."""

import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kerasgen.declared import preset_names
from kerasgen.errors import UserError
from kerasgen.files import atomic_write
from kerasgen.presets import PresetFolder, shipped
from kerasgen.runs import RunFolder, load_model
from kerasgen.typing import Config
from kerasgen.untrusted import read_json

EVALUATION, ARTIFACTS, STRIP = "evaluation.json", "artifacts.json", "strip.png"


class Facts(NamedTuple):
    """What a card says of some weights.

    Attributes:
        name: of the preset or of the run.
        picture: a file beside the card.
        caption: what the picture shows.
        training: how they were trained, by name.
        command: one line that trains them again.
        said: license, attribution and what fails, by name; all may be missing.
    """

    name: str
    picture: str
    caption: str
    training: Mapping[str, Config]
    command: str
    said: Mapping[str, Config]


def write_card(target: str | os.PathLike) -> Path:
    """Write README.md into the folder of a run or of a preset's weights, from the JSON that lies there.

    It tells what `evaluation.json` (of `kerasgen evaluate`) and `artifacts.json` (of `benchmarks/zoo.py`) hold, where
    they lie there.

    Args:
        target: a preset with trained weights, a folder that `save_to_preset` wrote, or a run folder.

    Returns:
        The card's path.

    Raises:
        UserError: there is neither a run nor a preset's weights, or the folder can't be written.

    Example:
        write_card("runs/digits")
    """
    folder = card_folder(target)
    facts = _of_preset(folder) if folder.exists() else _of_run(RunFolder(folder.path))
    with atomic_write(folder.card_file) as temporary:
        temporary.write_text(_text(folder.path, facts), encoding="utf-8", errors="backslashreplace")
    return folder.card_file


def card_folder(target: str | os.PathLike) -> PresetFolder:
    """Return the folder that a card is written into.

    Raises:
        UserError: there is neither a run nor a preset's weights.
    """
    path = Path(target)
    folder = shipped(str(target)) if not path.exists() and str(target) in preset_names() else PresetFolder(path)
    if not folder.exists() and not RunFolder(folder.path).exists():
        raise UserError(f"{target} is neither a run folder nor a preset with trained weights: give one of them.")
    return folder


def _of_preset(folder: PresetFolder) -> Facts:
    said = folder.metadata()
    known = ("data", "recipe", "seed", "parameter_count", "date_saved", "versions")
    training = {name: said[name] for name in known if name in said}  # type: ignore[literal-required]
    return Facts(folder.path.name, STRIP, said.get("caption", ""), training, said.get("command", ""), said)


def _of_run(run: RunFolder) -> Facts:
    config, model = run.config(), load_model(run.path)
    known = ("preset", "data", "epochs", "recipe", "seed", "versions", "git_commit")
    training = {name: config[name] for name in known if name in config}  # type: ignore[literal-required]
    return Facts(run.path.resolve().name, model.preview_file, "", training, "", {})


def _text(folder: Path, facts: Facts) -> str:
    """Return the whole card as Markdown."""
    parts = [f"# {facts.name}", _description(facts)]
    if (folder / facts.picture).is_file():
        parts += [f"![{facts.caption or facts.name}]({facts.picture})", facts.caption and f"*{facts.caption}*"]
    parts += ["## Use", _use(folder, facts.name)]
    parts += ["## Training", _table(("", ""), ((_words(name), _value(v)) for name, v in facts.training.items()))]
    if facts.command:
        parts += ["The same again:", f"```sh\n{facts.command}\n```"]
    evaluation, artifacts = _read(folder / EVALUATION), _read(folder / ARTIFACTS)
    if evaluation:
        parts += ["## Numbers", *_numbers(evaluation)]
    if artifacts:
        parts += ["## Artifacts", _artifacts(artifacts)]
    if facts.said.get("fails"):
        parts += ["## What fails", str(facts.said["fails"])]
    license_and_thanks = [facts.said.get("license"), facts.said.get("attribution")]
    if any(license_and_thanks):
        parts += ["## License", *(str(line) for line in license_and_thanks if line)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _description(facts: Facts) -> str:
    from kerasgen.models import presets

    preset = str(facts.training.get("preset") or facts.said.get("preset") or facts.name)
    return f"{preset}: {presets()[preset][1].description}." if preset in presets() else ""


def _use(folder: Path, name: str) -> str:
    model = load_model(folder)
    known = name if shipped(name).path.resolve() == folder.resolve() else str(folder)
    word = shlex.quote(f"./{known}" if known.startswith("-") else known).replace("\n", "?")
    if model.generates:
        return f"```sh\nkerasgen generate {word} --output pictures\n```"
    if model.translators():
        return f"```sh\nkerasgen translate {word} --input FOLDER --output pictures\n```"
    if not PresetFolder(folder).exists():
        return f"```python\nfrom kerasgen.runs import load_model\n\nmodel = load_model({_text_of(known)})\n```"
    kind = type(model).__name__
    return f"```python\nfrom kerasgen.models import {kind}\n\nmodel = {kind}.from_preset({_text_of(known)})\n```"


def _text_of(value: str) -> str:
    """Return a text as Python's source says it, in the quotes that this project uses."""
    return json.dumps(value, ensure_ascii=False)


def _numbers(evaluation: Mapping[str, Config]) -> Iterable[str]:
    """Yield a table for each group of numbers: rows of rows, or one row of numbers."""
    of = ", ".join(f"{name} `{evaluation[name]}`" for name in ("data", "split", "features") if evaluation.get(name))
    yield f"On {of}." if of else ""
    for title, group in evaluation.items():
        if not isinstance(group, Mapping):
            continue
        rows = group if all(isinstance(row, Mapping) for row in group.values()) else {title: group}
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        yield _table(
            (_words(title), *(_words(name) for name in names)),
            ((_words(row), *(_value(numbers.get(name)) for name in names)) for row, numbers in rows.items()),
        )
    if evaluation.get("no_features"):
        yield f"Distances in features are missing: {evaluation['no_features']}"


def _artifacts(rows: Sequence[Mapping[str, Config]]) -> str:
    """Return the table of sizes, times and distances from Keras, one row an artifact."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _table(tuple(map(_words, names)), (tuple(_value(row.get(name)) for name in names) for row in rows))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(part)}" for name, part in value.items())
    return str(value)


def _read(path: Path) -> Config:
    if not path.exists():
        return None
    return read_json(path, (dict, list), "numbers of a card", "write it again, or remove it")
