"""Every command and every snippet of the README is run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
QUICKSTART, TESTS, *LATER = COMMANDS


@pytest.mark.slow
def test_the_first_command_does_all_the_set_up(tmp_path):
    """In a fresh clone and a fresh virtual environment; it needs the package registry."""
    subprocess.run(["git", "clone", "-q", ROOT, tmp_path / "clone"], check=True)
    result = subprocess.run(["bash", "-c", QUICKSTART], cwd=tmp_path / "clone", capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    folder = tmp_path / "clone" / "quickstart" / "vae_digits"
    names = {"generated.png", "reconstructions.png", "curves.png", "model.keras"}
    names |= {"decoder.saved_model", "decoder.tflite", "decoder.onnx"}
    assert names <= {p.name for p in folder.iterdir()}


def test_the_second_command_is_what_the_projects_check_runs():
    check = (ROOT / ".ci" / "run").read_text()
    assert "python3 -m venv" in check
    assert '-e ".[dev]"' in check
    assert '/pytest" -m ""' in check
    assert TESTS == 'python3 -m venv .venv && .venv/bin/pip install -e ".[dev]" && .venv/bin/pytest\n'


@pytest.mark.slow
def test_the_other_commands(tmp_path):
    from PIL import Image
    from sklearn.datasets import load_sample_image

    (tmp_path / "photos").mkdir()
    photo = Image.fromarray(load_sample_image("flower.jpg"))
    for i in range(40):
        photo.crop((10 * i, 5 * i, 10 * i + 150, 5 * i + 120)).save(tmp_path / "photos" / f"{i}.jpg")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in LATER:
        result = subprocess.run(
            ["bash", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, f"{command}\n{result.stderr[-2000:]}"
    assert (tmp_path / "runs" / "photos" / "generated" / "grid.png").exists()
    assert (tmp_path / "saved_models" / "photos" / "decoder.tflite").exists()


@pytest.mark.slow
def test_the_snippets(tmp_path):
    code = "\n".join(SNIPPETS)
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "saved_models" / "digits.onnx").exists()


def test_the_pictures_are_there():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file()
