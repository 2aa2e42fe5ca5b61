"""DESIGN.md's arrows, read off the imports; and what is imported when."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "kerasgen": ROOT / "kerasgen",
    "kerasgen.export": ROOT / "export",
    "kerasgen.saved_models": ROOT / "saved_models",
}


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in ROOMS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *(p for p in parts if p != "__init__")])] = path
    return found


MODULES = modules()


def imports(name: str, top_level_only: bool = False) -> set[str]:
    """Absolute names of all that a module imports, inside functions and under TYPE_CHECKING too."""
    tree, found = ast.parse(MODULES[name].read_text()), set()
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return found


def ours(name: str, **options) -> set[str]:
    return {i for i in imports(name, **options) if i in MODULES and i != name}


# DESIGN.md's arrows run downwards only: a module imports rooms of a lower rank, or its own.
RANKS = (
    {"errors", "typing", "saved_models"},
    {"files", "memory", "losses", "keras_hooks", "declared", "untuned"},
    {"untrusted", "values"},
    {"layers", "drawing", "pages", "presets"},
    {"networks"},
    {"data", "training", "metrics"},
    {"models", "samplers", "serve", "export"},
    {"runs"},
    {"commands", "tables", "entry"},
    {"cli"},
)
# Beside each other, but in one direction.
SIDEWAYS = {("samplers", "models"), ("serve", "export")}


def room(name: str) -> str:
    return name.split(".")[1]


def rank(name: str) -> int:
    return next(i for i, rooms in enumerate(RANKS) if room(name) in rooms)


@pytest.mark.parametrize("name", [n for n in MODULES if "." in n])
def test_arrows_run_downwards(name):
    assert any(room(name) in rooms for rooms in RANKS), f"{name} lies in no room of DESIGN.md"
    for other in ours(name) - {"kerasgen"}:
        below = rank(other) < rank(name) or (room(name), room(other)) in SIDEWAYS
        assert room(other) == room(name) or below, f"{name} imports {other}"


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("kerasgen.export")])
def test_export_knows_no_model(name):
    ground = ("errors", "files", "untrusted", "values", "layers", "keras_hooks", "typing")
    allowed = {f"kerasgen.{room}" for room in ground}
    assert {i for i in ours(name) if not i.startswith("kerasgen.export")} <= allowed


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("kerasgen.models")])
def test_models_know_neither_export_nor_data_nor_samplers(name):
    assert not [i for i in ours(name) if i.startswith(("kerasgen.export", "kerasgen.data", "kerasgen.samplers"))]


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("kerasgen.serve")])
def test_the_server_knows_neither_keras_nor_a_model(name):
    assert not [i for i in imports(name) if i.split(".")[0] == "keras"]
    assert not [i for i in ours(name) if i.startswith(("kerasgen.models", "kerasgen.networks", "kerasgen.samplers"))]


@pytest.mark.parametrize(
    "name", [n for n in MODULES if n in ("kerasgen.layers", "kerasgen.losses") or n.startswith("kerasgen.networks")]
)
def test_networks_need_no_tensorflow(name):
    # Replicas are TensorFlow's: a layer may ask for them inside a function, once it runs there.
    assert not [i for i in imports(name, top_level_only=True) if i.split(".")[0] == "tensorflow"]


def test_no_module_imports_in_a_circle():
    """Imports inside functions and under TYPE_CHECKING count: a circle of them is one all the same."""

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(ours(name)):
                visit(other, (*path, name))
            done.add(name)

    done: set[str] = set()
    for name in MODULES:
        visit(name, ())


def test_the_packages_are_the_folders():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    code = {name for name, path in MODULES.items()} - folders
    assert set(listed) == folders
    assert {name.rpartition(".")[0] for name in code} <= folders, "a folder with code lacks its __init__.py"


def imported_by(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name.split(".")[0] for name in output.split()}


HEAVY = {
    "tensorflow",
    "tensorflow_datasets",
    "sklearn",
    "onnx",
    "onnxruntime",
    "tf2onnx",
    "ai_edge_litert",
    "matplotlib",
}


def test_importing_the_packages_is_quick():
    assert not imported_by("import kerasgen, kerasgen.export, kerasgen.samplers") & HEAVY


def test_help_imports_nothing_heavy():
    code = "import kerasgen.cli, contextlib\nwith contextlib.suppress(SystemExit): kerasgen.cli.app(['--help'])"
    assert not imported_by(code) & (HEAVY | {"keras"})


@pytest.mark.slow
def test_models_and_export_refuse_another_backend():
    code = """
import os; os.environ['KERAS_BACKEND'] = 'torch'
import keras
from kerasgen.errors import UserError
from kerasgen.export import export_model
try:
    import kerasgen.models
except UserError as error:
    print(error)
try:
    export_model(keras.Sequential([keras.Input((2,))]), '/nowhere/x')
except UserError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    training, exporting = result.stdout.splitlines()
    assert training.startswith("Training")
    assert exporting.startswith("Exporting")
    for sentence in (training, exporting):
        assert "set the environment variable KERAS_BACKEND=tensorflow" in sentence


@pytest.mark.slow
def test_a_trained_network_runs_under_another_backend(tmp_path):
    import numpy as np

    from kerasgen.networks import conv_decoder

    decoder = conv_decoder(4, (8, 8, 1), (8, 8), 16)
    z = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    decoder.save(tmp_path / "decoder.keras")
    np.save(tmp_path / "z.npy", z)
    code = (
        "import os; os.environ['KERAS_BACKEND'] = 'torch'\n"
        "import sys, keras, numpy as np, kerasgen.layers\n"
        f"folder = {str(tmp_path)!r}\n"
        "decoder = keras.models.load_model(folder + '/decoder.keras')\n"
        "images = decoder({'z': np.load(folder + '/z.npy')})\n"
        "np.save(folder + '/images.npy', keras.ops.convert_to_numpy(images))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "images.npy"), decoder({"z": z}), atol=1e-5)
