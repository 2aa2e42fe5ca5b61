"""The wheel: what it puts into an environment."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_installs_kerasgen_and_nothing_else(tmp_path):
    def run(*command, **options):
        return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout

    # From a copy, so that building leaves nothing in the clone.
    run("git", "clone", "-q", ROOT, tmp_path / "clone")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, tmp_path / "clone")
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    before = set(os.listdir(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()))
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", wheel)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    new = {name for name in set(os.listdir(site)) - before if not name.endswith(".dist-info")}
    assert new == {"kerasgen"}
    # The dependencies come from this environment; kerasgen from the wheel, and from outside the clone.
    where = "import kerasgen.export as e, kerasgen as k; print(k.__file__, e.__file__, *e.available_formats())"
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    package, export, *formats = run(python, "-c", where, cwd=tmp_path, env=environment).split()
    assert Path(package).parent == site / "kerasgen"
    assert Path(export).parent == site / "kerasgen" / "export"
    assert {"saved_model", "tflite", "onnx"} <= set(formats)
