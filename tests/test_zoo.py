"""The trained presets that ship: each loads, is what its card says, and is used by its name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerasgen.models import presets
from kerasgen.presets import PresetFolder, shipped

NAMES = [name for name in presets() if shipped(name).exists()]
MOST_BYTES = 30e6  # of all that is tracked


@pytest.mark.parametrize("name", NAMES)
def test_a_number_of_the_card_is_reproduced(name):
    from kerasgen.commands.evaluate import evaluate

    said = json.loads((shipped(name).path / "evaluation.json").read_text())
    found = evaluate(name, k=2)
    for table, row, number in (
        ("likelihood", "test", "elbo"),
        ("translation", "a2b", "psnr"),
        ("translation", "b2a", "psnr"),
    ):
        if table in said:
            assert found[table][row][number] == pytest.approx(said[table][row][number], rel=1e-3)
    assert {"likelihood", "translation", "score"} & said.keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_made_from_the_json_beside_it(name, tmp_path):
    from kerasgen.commands.card import write_card

    copy = shutil.copytree(shipped(name).path, tmp_path / name)
    (copy / "README.md").unlink()
    made = write_card(copy).read_text()
    # Only the line that says how to use it names the folder.
    assert made.replace(str(copy), name) == shipped(name).card_file.read_text()
    said = PresetFolder(copy).metadata()
    assert said["license"] in made
    assert said["attribution"] in made


def test_all_of_it_is_small_enough():
    assert sum(f.stat().st_size for name in NAMES for f in shipped(name).path.iterdir()) < MOST_BYTES


def test_generate_by_name(kerasgen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = kerasgen("generate", "vae_digits", "--output", "pictures", "--n", 4, "--label", 3)
    assert code == 0, err
    from kerasgen.metrics.features import extractor_for

    pictures = [np.asarray(Image.open(Path("pictures", f"{i:04d}.png")).convert("L")) / 255 for i in range(4)]
    answers = extractor_for("digits").classes(np.float32(pictures)[..., None])
    assert (answers == 3).sum() >= 3


def test_an_untrained_name_is_refused(kerasgen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = kerasgen("generate", "vae_64", "--output", "pictures")
    assert code == 2
    assert "has no trained weights: train it by `kerasgen train vae_64`" in err
    code, _, err = kerasgen("card", "nowhere")
    assert code == 2
    assert "is neither a run folder nor a preset with trained weights" in err
