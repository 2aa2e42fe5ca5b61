"""Run folders, `.keras` files, checkpoints and samplers of each layout that was ever written still load."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kerasgen.errors import UserError
from kerasgen.runs import LAYOUT, RunFolder, load_model

GOLDEN = Path(__file__).parent / "golden" / "009280b"


@pytest.fixture(scope="module")
def expected():
    """What the code of that commit gave."""
    with np.load(GOLDEN / "expected.npz") as file:
        return dict(file)


def test_a_run_folder_of_the_first_layout(expected):
    run = RunFolder(GOLDEN / "vae_run")
    assert "layout" not in json.loads(run.config_file.read_text())
    assert run.config()["preset"] == "vae_digits"
    assert run.data() == {"source": "digits", "image_size": 16, "channels": 1, "batch_size": 64}
    found = run.model().reconstruct(expected["image"], expected["label"])
    np.testing.assert_allclose(found, expected["reconstruct"], atol=1e-5)


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_a_cyclegan_of_the_first_layout(expected, direction):
    found = load_model(GOLDEN / "cyclegan_run").translate(expected["a"], direction)
    np.testing.assert_allclose(found, expected[f"cyclegan_{direction}"], atol=1e-5)


@pytest.mark.parametrize("name", ["cyclegan_checkpoint", "paired"])
def test_a_translator_of_the_first_layout(expected, name):
    found = load_model(GOLDEN / f"{name}.keras").translate(expected["a"])
    np.testing.assert_allclose(found, expected[name], atol=1e-5)


def test_a_registration_of_the_first_layout(expected):
    warped, flow = load_model(GOLDEN / "registration.keras").align(expected["a"][:1], expected["a"][1:])
    np.testing.assert_allclose(warped, expected["warp"], atol=1e-5)
    np.testing.assert_allclose(flow, expected["flow"], atol=1e-4)


def test_a_vae_of_attributes_of_the_first_layout(expected):
    vae = load_model(GOLDEN / "vae_attributes.keras")
    found = vae.decode(np.ones((3, 2)), np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]]))
    np.testing.assert_allclose(found, expected["vae_attributes"], atol=1e-5)


@pytest.mark.parametrize("path", sorted((GOLDEN / "samplers").iterdir()), ids=lambda path: path.stem)
def test_a_sampler_of_the_first_layout(expected, path):
    from kerasgen.samplers import load_sampler

    np.testing.assert_allclose(load_sampler(path).sample(5, seed=1).z, expected[f"sampler_{path.stem}"], atol=1e-4)


@pytest.mark.parametrize("name", ["vae_run", "cyclegan_run"])
def test_a_checkpoint_of_the_first_layout(name):
    from kerasgen.training.checkpoints import Checkpoints

    run = RunFolder(GOLDEN / name)
    trained, fresh = run.model(), run.model()
    for variable in fresh.trainable_variables:
        variable.assign(np.zeros(variable.shape, np.float32))
    config = run.config()
    steps = config["epochs"] * config["steps_per_epoch"]
    assert Checkpoints(run.checkpoints, config["steps_per_epoch"]).restore(fresh) == steps
    for a, b in zip(trained.trainable_variables, fresh.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_run_of_the_first_layout_is_measured_and_generates(kerasgen, tmp_path):
    run = shutil.copytree(GOLDEN / "vae_run", tmp_path / "run")
    code, _, errors = kerasgen("evaluate", run, "--k", 2)
    assert code == 0, errors
    assert json.loads((run / "evaluation.json").read_text())["data"] == "digits"
    code, _, errors = kerasgen("generate", run, "--output", tmp_path / "new", "--sampler", "class_gaussian", "--n", 2)
    assert code == 0, errors
    assert (tmp_path / "new" / "0001.png").is_file()


@pytest.mark.slow
def test_a_run_of_the_first_layout_goes_on(tmp_path):
    from kerasgen.commands.arguments import read_settings
    from kerasgen.commands.settings import settings_in
    from kerasgen.commands.train import train

    run = RunFolder(shutil.copytree(GOLDEN / "vae_run", tmp_path / "run"))
    arguments = {"seed": 3, "settings": settings_in(read_settings(run.config_file), "vae_digits"), "resume": True}
    former = run.log_file.read_text().splitlines()
    history = train("vae_digits", run.path, **arguments).history
    assert len(history["loss"]) == 2
    longer = train("vae_digits", run.path, epochs=3, schedule="extend", **arguments).history
    assert longer["val_elbo"][:2] == history["val_elbo"]
    assert longer["val_elbo"][2] > history["val_elbo"][1]
    names = former[0].split(",")
    assert float(former[2].split(",")[names.index("val_elbo")]) == history["val_elbo"][1]


def test_a_layout_of_the_future_gets_a_sentence(tmp_path):
    run = RunFolder(tmp_path)
    run.config_file.write_text(json.dumps({"layout": LAYOUT + 1, "data": {}}))
    with pytest.raises(UserError, match=f"has the layout {LAYOUT + 1}.*up to {LAYOUT}: update kerasgen"):
        run.config()


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_config_gets_a_sentence(tmp_path, text):
    run = RunFolder(tmp_path)
    run.config_file.write_text(text)
    with pytest.raises(UserError, match=r"config\.json (can't be read|doesn't say how its data was loaded)"):
        run.config()
