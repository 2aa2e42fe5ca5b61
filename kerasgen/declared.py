"""What the models' files declare, read off their text: to import them takes TensorFlow's seconds."""

import ast
import difflib
import functools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from kerasgen.errors import UserError

# What a training gives by itself, or what has an option of its own.
NOT_SET = frozenset(
    {"split", "shuffle", "seed", "start_step", "steps_per_epoch", "download", "data_dir", "self", "kwargs"}
)


class Described(NamedTuple):
    """What a preset says of itself; see `kerasgen.presets.Preset`.

    Attributes:
        description: one line.
        macs: of its first network to export.
        image_size: pixels of the pictures that it trains on.
    """

    description: str
    macs: int | None
    image_size: int | None


def preset_names() -> set[str]:
    """Return the names of all presets."""
    return {name for file in _files("models") for name in _entries(file)}


def described_presets() -> dict[str, Described]:
    """Return what there is to say of each preset, models in the order of `MODEL_MODULES`."""
    return {name: _described(file, call) for file in _in_order() for name, call in _entries(file).items()}


def check_settings(preset: str, names: Sequence[str]) -> None:
    """Raise `UserError` unless a preset has settings of these names.

    Args:
        preset: one that there is.
        names: as `--set` takes them.
    """
    known = [*setting_names(preset), "image_size"]
    for name in names:
        check_known(name, known, f"There is no setting {name!r}")


def check_monitor(preset: str, name: str) -> None:
    """Raise `UserError` unless the model of a preset reports a number of that name, and is the better for it."""
    check_known(name, reported_names(preset), f"A {_lineage(preset)[0].name} doesn't report {name!r}")
    calls = {str(ast.literal_eval(call.args[0])): call for call in _calls(_lineage(preset), "reports")}
    judging = [reported for reported, call in calls.items() if _judges(call)]
    if name.removeprefix("val_") not in judging:
        # As `judged_by` has them: what validation alone counts comes first.
        other = min(judging, key=lambda n: all(k.arg != "validation_only" for k in calls[n].keywords))
        refuse_monitor(name, f"val_{other}")


def refuse_monitor(name: str, other: str) -> NoReturn:
    """Raise `UserError`: a number that no direction is better of can't choose a checkpoint, but another one can."""
    raise UserError(f"The monitor {name!r} doesn't judge the model: choose another, such as {other!r}.")


def check_known(name: str, known: Collection[str], otherwise: str) -> None:
    """Raise `UserError` unless a name is known: what is wrong, then the nearest one or all that there are."""
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        meant = f"did you mean {close[0]!r}" if close else f"choose one of {', '.join(known)}"
        raise UserError(f"{otherwise}: {meant}.")


def setting_names(preset: str) -> list[str]:
    """Return what can be set about a preset, whichever way its data is loaded; networks are left out."""
    line = _lineage(preset)
    loaders = {
        str(ast.literal_eval(call.args[0])): set(ast.literal_eval(call.args[1])) if len(call.args) > 1 else {"source"}
        for call in _calls(line, "loaders")
    }
    functions = {f.name: f for file in _files("data") for f in file.body if isinstance(f, ast.FunctionDef)}
    data = [name for loader, own in loaders.items() for name in _arguments(functions[loader]) if name not in own]
    recipe = [name for name in _arguments(_method(line, "compile_for_recipe")) if name != "epochs"]
    names = ["recipe.epochs", *_arguments(_method(line, "__init__"))]
    return list(dict.fromkeys([*names, *(f"data.{name}" for name in data), *(f"recipe.{name}" for name in recipe)]))


def reported_names(preset: str) -> list[str]:
    """Return the names of the numbers that a preset's model logs."""
    trained, validated = [], []
    for call in _calls(_lineage(preset), "reports"):
        name, options = str(ast.literal_eval(call.args[0])), {keyword.arg for keyword in call.keywords}
        validated.append(f"val_{name}")
        if "validation_only" not in options:
            trained.append(name)
    return [*trained, *validated]


def _judges(reported: ast.Call) -> bool:
    """Tell whether one direction of a declared number is better."""
    given = [*reported.args[1:2], *(keyword.value for keyword in reported.keywords if keyword.arg == "better")]
    return all(ast.literal_eval(value) is not None for value in given)


@functools.cache
def _files(room: str) -> tuple[ast.Module, ...]:
    return tuple(ast.parse(path.read_text(encoding="utf-8")) for path in _paths(room).values())


def _paths(room: str) -> dict[str, Path]:
    return {path.stem: path for path in sorted((Path(__file__).parent / room).glob("*.py"))}


def _in_order() -> list[ast.Module]:
    """Return the files of models in the order of `MODEL_MODULES`."""
    files = dict(zip(_paths("models"), _files("models"), strict=True))
    modules = _assigned(files["__init__"], "MODEL_MODULES")
    assert isinstance(modules, ast.Tuple)
    return [files[module.id] for module in modules.elts if isinstance(module, ast.Name)]


def _entries(file: ast.Module) -> dict[str, ast.Call]:
    """Return the presets at the foot of a model's file by name."""
    table = _assigned(file, "PRESETS")
    if table is None:
        return {}
    assert isinstance(table, ast.Dict)
    entries = {ast.literal_eval(key): value for key, value in zip(table.keys, table.values, strict=True) if key}
    return {str(name): call for name, call in entries.items() if isinstance(call, ast.Call)}


def _described(file: ast.Module, preset: ast.Call) -> Described:
    said = {keyword.arg: keyword.value for keyword in preset.keywords}
    macs = ast.literal_eval(said["macs"]) if "macs" in said else None
    return Described(ast.literal_eval(said["description"]), macs, _entry(file, said.get("data"), "image_size"))


def _entry(file: ast.Module, table: ast.expr | None, name: str) -> int | None:
    """Return an entry of a dictionary, which may begin with another one of the file."""
    if isinstance(table, ast.Name):
        return _entry(file, _assigned(file, table.id), name)
    found = None
    for key, value in zip(table.keys, table.values, strict=True) if isinstance(table, ast.Dict) else ():
        if key is None:
            found = _entry(file, value, name)
        elif ast.literal_eval(key) == name:
            found = ast.literal_eval(value)
    return found


def _lineage(preset: str) -> list[ast.ClassDef]:
    """Return a preset's model and what it inherits from, itself first."""
    files = _files("models")
    classes = {c.name: c for file in files for c in file.body if isinstance(c, ast.ClassDef)}
    model = _assigned(next(file for file in files if preset in _entries(file)), "MODEL")
    line: list[ast.ClassDef] = []
    bases: Sequence[ast.expr | None] = [model]
    while found := next((classes[b.id] for b in bases if isinstance(b, ast.Name) and b.id in classes), None):
        line.append(found)
        bases = found.bases
    return line


def _assigned(scope: ast.Module | ast.ClassDef, name: str) -> ast.expr | None:
    for statement in scope.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            if isinstance(target, ast.Name) and target.id == name:
                return statement.value
    return None


def _calls(line: Sequence[ast.ClassDef], attribute: str) -> Iterator[ast.Call]:
    """Yield the elements of a tuple of declarations, of the first class that has it."""
    declared = next(value for c in line if (value := _assigned(c, attribute)) is not None)
    assert isinstance(declared, ast.Tuple)
    for element in declared.elts:
        assert isinstance(element, ast.Call)
        yield element


def _method(line: Sequence[ast.ClassDef], name: str) -> ast.FunctionDef:
    return next(f for c in line for f in c.body if isinstance(f, ast.FunctionDef) and f.name == name)


def _arguments(function: ast.FunctionDef) -> list[str]:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    kinds = {a.arg: ast.unparse(a.annotation).split(" | ") for a in arguments if a.annotation is not None}
    # What takes a name as well can be set.
    networks = [name for name, taken in kinds.items() if "keras.Model" in taken and "str" not in taken]
    return [a.arg for a in arguments if a.arg not in {*NOT_SET, *networks}]
