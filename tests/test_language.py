"""What people read is plain English: errors are sentences, docstrings name each argument, spelling is American."""

import ast
import inspect
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "kerasgen").rglob("*.py"), *(ROOT / "export").rglob("*.py")])
ERRORS = {"UserError", "GateError", "ServerError", "Refusal", "invalid"}
BRITISH = (
    "behaviour centre centred colour grey honour labelled licence modelling neighbour normalise optimise organise"
)
WORDS = re.compile(rf"\b({BRITISH.replace(' ', '|')})s?\b", re.IGNORECASE)
TWICE = re.compile(r"(?<![Tt]here )\b(is|are) no (?!longer|more|less|faster|such)[a-z]+|\b(says|holds|knows) of no\b")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def identifiers(tree: ast.Module) -> set[str]:
    """Names of arguments, variables and attributes: a sentence may begin with one of them as it is written."""
    nodes = list(ast.walk(tree))
    found = {node.arg for node in nodes if isinstance(node, (ast.arg, ast.keyword)) and node.arg}
    found |= {node.id for node in nodes if isinstance(node, ast.Name)}
    return found | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def literal(node: ast.expr) -> str | None:
    """The text of a string or f-string, with `{}` for what is filled in; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = literal(node.left), literal(node.right)
        return None if left is None else left + (right or "{}")
    return None


def sentences(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and text of each error that is raised with a text of its own."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
            text = literal(node.args[-1])
            if text is not None:
                found.append((node.lineno, text))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_errors_are_sentences(path):
    tree = tree_of(path)
    names = identifiers(tree)
    for line, text in sentences(tree):
        first = re.split(r"[\s=(\[.:,]", text)[0]
        assert not first[:1].islower() or "_" in first or first in names, (
            f"{path}:{line} begins in lower case: {text!r}"
        )
        assert text.rstrip("'\"`)").endswith((".", "{}", "?")), f"{path}:{line} ends without a full stop: {text!r}"


def test_the_language_test_reads_errors():
    found = [text for path in FILES for _, text in sentences(tree_of(path))]
    assert len(found) > 150


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_name_each_argument(path):
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        text = inspect.cleandoc(ast.get_docstring(node) or "")
        if "\nArgs:\n" not in text:
            continue
        section = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
        described = {
            name.strip("* ")
            for line in re.findall(r"^    ([^\s][^:]*):", section, re.MULTILINE)
            for name in line.split(",")
        }
        arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        missing = set(arguments) - {"self", "cls"} - described
        assert not missing, f"{path}:{node.lineno} {node.name} doesn't describe {sorted(missing)}"


def test_spelling_is_american_and_what_is_not_is_not():
    command = ["git", "ls-files", "*.py", "*.md", "*.toml"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = []
    for name in names:
        if name == "tests/test_language.py":
            continue
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            found += [
                f"{name}:{number}: {match.group(0)}" for match in [*WORDS.finditer(line), *TWICE.finditer(line)]
            ]
    assert not found, "\n".join(found)
