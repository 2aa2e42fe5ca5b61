"""The documentation: each public name and option has its page, commands are real, snippets run.

`mkdocs build --strict`, a step of the project's check, says whether links resolve and names can be read.
"""

import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "serve" / "README.md"]


@pytest.fixture(scope="module")
def hooks():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("hooks")
    finally:
        sys.path.remove(str(ROOT / "docs"))


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    """Each command with its options, as Typer knows them."""
    found = {}
    for name, command in group.commands.items():
        found[(*path, name)] = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        if isinstance(command, TyperGroup):
            found |= commands(command, (*path, name))
    return found


@pytest.fixture(scope="module")
def known():
    from kerasgen.cli import app

    return commands(typer.main.get_command(app))


def test_each_public_name_has_a_place_in_the_reference(hooks):
    import kerasgen
    import kerasgen.export

    written = {
        line.removeprefix("::: ")
        for title, modules in hooks.REFERENCE.values()
        for line in hooks.reference_page(title, modules).splitlines()
        if line.startswith("::: ")
    }
    rooms = [kerasgen, kerasgen.export]
    packages = [m.name for room in rooms for m in pkgutil.iter_modules(room.__path__, f"{room.__name__}.") if m.ispkg]
    checked = 0
    for package in (*packages, "kerasgen.export", "kerasgen.layers", "kerasgen.losses", "kerasgen.drawing"):
        # A room without a list, such as kerasgen.training, is known by its files.
        names = getattr(importlib.import_module(package), "__all__", None)
        if names is None:
            names = [] if package in packages else hooks.public_names(package.removeprefix("kerasgen."))
        for name in names:
            assert f"{package}.{name}" in written, f"{package}.{name} has no page: see REFERENCE in docs/hooks.py"
            checked += 1
    assert checked > 60


def test_each_option_is_on_the_page_of_commands(hooks, known):
    page = hooks.command_line()
    assert len(known) > 12
    for path, options in known.items():
        section = page.partition(f"## kerasgen {' '.join(path)}\n")[2].partition("\n## ")[0]
        for option in options:
            shown = option if option.startswith("-") else option.upper()
            assert f"`{shown}`" in section, f"kerasgen {' '.join(path)} {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_real(page, known):
    """Every command of a page exists, with every option that it is given."""
    lines = re.findall(r"^kerasgen .*$|`kerasgen [^`]*`", page.read_text(), re.MULTILINE)
    for line in lines:
        words = [word for word in line.partition("#")[0].strip("`").split()[1:] if word not in ("COMMAND", "…")]
        # `client` has the server's address before its own commands.
        name = [word for word in words if word.isalpha() or word == "import-torch"]
        path = next((tuple(name[:n]) for n in (2, 1) if tuple(name[:n]) in known), None)
        assert path or words[:1] == ["--help"] or not words, f"{page.name}: {line}"
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert not path or option in known[path] or option == "--help", f"{page.name}: {line}"


@pytest.mark.slow
def test_the_snippets(warm, tmp_path):
    """Each page's snippets, in order, in a namespace of the page's own."""
    pages = {page: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES[1:]}
    code = [f"exec({chr(10).join(snippets)!r}, {{'__name__': 'page'}})" for snippets in pages.values() if snippets]
    assert len(code) >= 5
    result = warm.run("-c", "\n".join(code), cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "runs" / "digits" / "vae.keras").exists()
    assert (tmp_path / "saved_models" / "mine.onnx").exists()
    assert (tmp_path / "tree.npz").exists()


def test_pictures_are_there():
    for page in PAGES:
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", page.read_text()):
            assert (page.parent / picture).is_file(), f"{page}: {picture}"
