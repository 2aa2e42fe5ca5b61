"""What stands under `Example:` in the docstring of a public name runs."""

import ast
import inspect
import re
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
# These speak of files that a user has; the other pages' tests run the like.
OF_FILES = {"RunFolder", "write_card", "PresetFolder", "load_pairs", "compare", "Report"}


def examples() -> dict[str, tuple[str, str]]:
    """By name of a class or function: its module, and the code."""
    found = {}
    for package, folder in (("kerasgen", ROOT / "kerasgen"), ("kerasgen.export", ROOT / "export")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            module = ".".join([package, *(part for part in parts if part != "__init__")])
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef):
                    text = inspect.cleandoc(ast.get_docstring(node) or "")
                    code = re.search(r"^Example:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
                    if code and node.name not in OF_FILES:
                        found[node.name] = (module, textwrap.dedent(code[1]))
    return found


EXAMPLES = examples()


def test_there_are_examples():
    assert len(EXAMPLES) >= 30


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module, code = EXAMPLES[name]
    namespace = {"np": np, "keras": keras}
    exec(f"from {module} import {name}\n{code}", namespace)
