"""Every command and every snippet of the README is run."""

import re
import shlex
import subprocess
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


@pytest.fixture
def own_pictures(tmp_path):
    """Folders of the README's names, of pieces of a photograph: to learn from alone, unpaired, and in pairs."""
    from PIL import Image, ImageOps
    from sklearn.datasets import load_sample_image

    photo = Image.fromarray(load_sample_image("flower.jpg"))
    for name, count, size in (("photos", 40, 150), ("horses", 4, 140), ("zebras", 4, 140), ("colored", 3, 270)):
        (tmp_path / name).mkdir()
        for i in range(count):
            photo.crop((10 * i, 5 * i, 10 * i + size, 5 * i + size)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "sketches").mkdir()
    for path in (tmp_path / "colored").iterdir():
        ImageOps.grayscale(Image.open(path)).save(tmp_path / "sketches" / path.name)
    return tmp_path


# One epoch each, and the large networks with few filters: what the lines say is run, at a test's price.
SHORTER = {
    "cyclegan_resnet_6": """--image-size 64 --set 'generator_options={"filters":8,"blocks":2}'""",
    "pix2pix_256": """--set 'generator_options={"filters":8,"downsamplings":8}'""",
}


def shortened(command: str) -> str:
    """Commands with each training as short as it can be."""
    return re.sub(
        r"^(kerasgen train (\S+) .*)$",
        lambda match: f"{match[1]} --epochs 1 {SHORTER.get(match[2], '')}",
        command,
        flags=re.MULTILINE,
    )


@pytest.mark.slow
def test_the_other_commands(own_pictures, warm):
    """All as they stand, but for the length of the trainings, and for the imports, which are made once."""
    for command in shortened("".join(LATER)).splitlines():
        program, *arguments = shlex.split(command)
        assert program == "kerasgen"
        result = warm.run("-m", "kerasgen.cli", *arguments, cwd=own_pictures)
        assert result.returncode == 0, f"{command}\n{result.stderr[-2000:]}"
    for name in ("pictures/sevens/grid.png", "new/grid.png", "pictures/colored/0.png", "runs/zebras/model.keras"):
        assert (own_pictures / name).exists()
    assert (own_pictures / "saved_models" / "x2" / "generator_a2b.dynamic_int8.tflite").exists()


@pytest.mark.slow
def test_the_snippets(warm, tmp_path):
    code = "\n".join(SNIPPETS)
    result = warm.run("-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "saved_models" / "digits.onnx").exists()


def test_the_pictures_are_there():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file()


def test_it_is_short():
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1300


def test_the_table_names_presets_that_are_and_says_trained_of_those_that_are():
    from kerasgen.models import presets
    from kerasgen.presets import shipped

    rows = [line.split("|") for line in README.partition("## The zoo")[2].splitlines() if line.startswith("| ")][1:]
    named = [(name, row[-2]) for row in rows for name in re.findall(r"`(\w+)`", row[2])]
    assert len(named) >= len(rows) > 10
    for name, trained in named:
        assert name in presets()
        assert "yes" not in trained or shipped(name).exists()
