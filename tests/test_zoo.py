"""The trained presets that ship: each loads, is what its card says, and is used by its name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from kerasgen.data import load_unpaired
from kerasgen.models import presets
from kerasgen.presets import PresetFolder, shipped
from kerasgen.runs import data_of, load_model

NAMES = [name for name in presets() if shipped(name).exists()]
MOST_BYTES = 30e6  # of all that is tracked


# Hundreds of held-out pictures take a while.
MEASURED = [name if name == "vae_digits" else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


@pytest.mark.parametrize("name", MEASURED)
def test_a_number_of_the_card_is_reproduced(name):
    from kerasgen.commands.evaluate import evaluate

    said = json.loads((shipped(name).path / "evaluation.json").read_text())
    if "translation" in said:
        found = psnr_of_translations(name)
        expected = {direction: said["translation"][direction]["psnr"] for direction in found}
    else:
        found, expected = (one_number(report) for report in (evaluate(name, k=2), said))
    assert found == pytest.approx(expected, rel=1e-3)


def one_number(report) -> float:
    if "likelihood" in report:
        return report["likelihood"]["test"]["elbo"]
    if "pictures" in report:
        return report["pictures"]["prior"]["frechet"]
    return report["score"]["epe" if "epe" in report["score"] else "psnr"]


def psnr_of_translations(name: str) -> dict[str, float]:
    """The mean over all held-out pictures whose truth is known, by scikit-image, in each direction."""
    model, data = load_model(name), data_of(name)
    batches = list(load_unpaired(**data, split="test"))
    found = {}
    for direction, (source, target) in {"a2b": "ab", "b2a": "ba"}.items():
        pairs = [
            pair
            for b in batches
            for pair in zip(model.translate(b[source], direction), b[f"truth_{target}"], strict=True)
        ]
        found[direction] = np.mean([peak_signal_noise_ratio(np.asarray(t), p, data_range=2) for p, t in pairs])
    return found


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


@pytest.mark.slow
def test_the_card_of_a_run_says_commands_that_can_be_pasted(tmp_path):
    from kerasgen.commands.card import write_card
    from kerasgen.commands.train import train

    tiny = {"latent_dim": 2, "filters": [4], "hidden_units": 8, "image_size": 8, "data.batch_size": 250}
    folder = tmp_path / "my run"
    train("vae_digits", folder, epochs=1, settings=tiny)
    assert f"kerasgen generate '{folder}' --output pictures" in write_card(folder).read_text()
    autoencoder = {"architecture_options": {"filters": [8], "patch": 2}, "data.batch_size": 250, "image_size": 16}
    other = tmp_path / "maps"
    train("kl_emoji_64", other, "digits", epochs=1, settings={**autoencoder, "channels": 1, "data.channels": 1})
    card = write_card(other).read_text()
    assert f'from kerasgen.runs import load_model\n\nmodel = load_model("{other}")' in card


def test_a_first_stage_that_is_named_has_the_weights_it_was_trained_with():
    configs = {name: json.loads(shipped(name).config_file.read_text())["config"] for name in NAMES}
    named = {name: config["first_stage"] for name, config in configs.items() if config.get("first_stage")}
    assert "prior_digits" in named
    for name, first_stage in named.items():
        preset, _, digest = first_stage.partition("@")
        assert PresetFolder(shipped(preset).path).metadata()["sha256"] == digest, name


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


def test_a_presets_folder_is_as_good_as_its_name(kerasgen, tmp_path):
    """Of a conditional model, whose config.json is not a run's."""
    folder = shutil.copytree(shipped("vae_digits").path, tmp_path / "mine")
    options = ("--output", tmp_path / "pictures", "--n", 2, "--label", 3, "--sampler", "class_gaussian")
    code, _, err = kerasgen("generate", folder, *options)
    assert code == 0, err
    code, _, err = kerasgen("evaluate", folder, "--k", 2, "--output", tmp_path / "evaluation.json")
    assert code == 0, err


def test_an_untrained_name_is_refused(kerasgen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = kerasgen("generate", "vae_64", "--output", "pictures")
    assert code == 2
    assert "has no trained weights: train it by `kerasgen train vae_64`" in err
    code, _, err = kerasgen("card", "nowhere")
    assert code == 2
    assert "is neither a run folder nor a preset with trained weights" in err


def test_the_list_shows_what_is_trained_how_large_and_how_good(kerasgen):
    code, shown, err = kerasgen("list")
    assert code == 0, err
    for name in NAMES:
        megabytes = sum(f.stat().st_size for f in shipped(name).path.iterdir()) / 1e6
        said = shipped(name).metadata()["headline"]
        assert f"trained, {megabytes:.1f} MB, {said}: " in " ".join(shown.split())
