"""Trained weights by name and by folder: what comes back is what was saved, and what doesn't exist is refused."""

import json
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import h5py
import keras
import numpy as np
import pytest
from huggingface_hub import constants

from kerasgen.errors import UserError
from kerasgen.models import VAE, CycleGAN
from kerasgen.presets import PresetFolder
from kerasgen.untrusted import Fault, bounded_weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A VAE after one step, and the folder it was saved to."""
    vae = VAE((8, 8, 1), 4, filters=(4,), hidden_units=8, likelihood="gaussian", sigma="learned", seed=3)
    vae.compile(optimizer="adam")
    images = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)
    vae.fit(images, batch_size=16, epochs=1, verbose=0, shuffle=False)
    folder = tmp_path_factory.mktemp("presets") / "mine"
    vae.save_to_preset(folder, {"license": "CC0", "numbers": {"elbo": -1.5}})
    return vae, folder


@pytest.fixture
def hub(trained, tmp_path, monkeypatch):
    """Hugging Face without its network: what huggingface_hub has downloaded before."""
    vae, folder = trained
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def downloaded(name):
        kept = tmp_path / f"models--user--{name}"
        (kept / "refs").mkdir(parents=True)
        (kept / "refs" / "main").write_text("0" * 40)
        return kept / "snapshots" / ("0" * 40)

    shutil.copytree(folder, downloaded("preset"))
    vae.save(tmp_path / "vae.keras")
    config = {}
    for name in ("saved", "code", "huge", "deep"):
        with zipfile.ZipFile(tmp_path / "vae.keras") as parts:
            parts.extractall(downloaded(name))
        config[name] = tmp_path / f"models--user--{name}" / "snapshots" / ("0" * 40) / "config.json"
    said = json.loads(config["saved"].read_text())
    wide = {**said, "config": {**said["config"], "hidden_units": 10**6}}
    config["huge"].write_text(json.dumps(wide))
    config["deep"].write_text("[" * 100_000)
    code = {"class_name": "Lambda", "module": "keras.layers", "config": {"function": {"class_name": "__lambda__"}}}
    config["code"].write_text(json.dumps(code))
    return tmp_path


def test_a_folder_gives_the_same_model(trained):
    vae, folder = trained
    again = VAE.from_preset(folder)
    z = np.random.default_rng(1).standard_normal((5, 4))
    np.testing.assert_array_equal(again.decode(z), vae.decode(z))
    assert float(again.log_sigma) == float(vae.log_sigma) != 0
    assert again.seed == 3


def test_the_folder_says_what_it_holds(trained):
    vae, folder = trained
    said = PresetFolder(folder).metadata()
    assert said["parameter_count"] == vae.count_params()
    assert said["license"] == "CC0"
    assert said["numbers"] == {"elbo": -1.5}
    assert {"python", "keras", "tensorflow", "kerasgen"} == set(said["versions"])
    with h5py.File(folder / "model.weights.h5") as file:
        names: list[str] = []
        file.visit(names.append)
    assert not [name for name in names if "optimizer" in name or "momentum" in name]


def test_load_weights_false_gives_new_ones(trained):
    vae, folder = trained
    fresh = VAE.from_preset(folder, load_weights=False)
    assert any((a != b).any() for a, b in zip(fresh.get_weights(), vae.get_weights(), strict=True))


def test_overrides_that_keep_the_networks_keep_the_weights(trained):
    _, folder = trained
    assert VAE.from_preset(folder, beta=0.5).beta == 0.5


def test_a_folder_of_that_name_is_replaced_as_a_whole(trained, tmp_path):
    vae, _ = trained
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "old").write_text("")
    vae.save_to_preset(tmp_path / "mine")
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == [
        "config.json",
        "metadata.json",
        "model.weights.h5",
    ]


def test_half_stores_each_weight_rounded_once(trained, tmp_path):
    vae, folder = trained
    vae.log_sigma.assign(1e6)  # more than float16 holds: it stays as it is
    vae.save_to_preset(tmp_path / "half", half=True)
    stored = []
    with h5py.File(tmp_path / "half" / "model.weights.h5") as file:
        file.visititems(lambda _, item: stored.append(item.dtype) if isinstance(item, h5py.Dataset) else None)
    assert [dtype for dtype in stored if dtype == np.float32] == [np.float32]
    assert stored.count(np.float16) > 5
    again = VAE.from_preset(tmp_path / "half")
    for found, kept in zip(again.get_weights(), vae.get_weights(), strict=True):
        assert found.dtype == kept.dtype
        rounded = (
            kept.astype(np.float16).astype(kept.dtype) if kept.dtype == np.float32 and kept.max() < 1e5 else kept
        )
        np.testing.assert_array_equal(found, rounded)
    vae.set_weights(VAE.from_preset(folder).get_weights())


def test_what_only_a_training_needs_is_left_out(tmp_path):
    """The images that CycleGAN's discriminators remember are of other pictures than the next training's."""
    generators, discriminators = {"filters": 4, "blocks": 1, "downsamplings": 1}, {"filters": 4, "downsamplings": 1}
    model = CycleGAN(8, generator_options=generators, discriminator_options=discriminators, pool_size=50)
    for pool in (model.pool_a, model.pool_b):
        pool(np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype("float32"))
    held = [np.array(variable) for variable in model.pool_a.variables]
    model.save_to_preset(tmp_path / "preset")
    for kept, variable in zip(held, model.pool_a.variables, strict=True):
        np.testing.assert_array_equal(kept, variable)  # the model itself is as it was
    again = CycleGAN.from_preset(tmp_path / "preset")
    assert not any(np.any(variable) for pool in (again.pool_a, again.pool_b) for variable in pool.variables)
    for kept, variable in zip(model.learned_variables, again.learned_variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


def test_a_file_is_packed_and_always_the_same(tmp_path):
    """Zeros take no room, and a digest names the weights, whenever they were saved."""
    generators = {"filters": 4, "blocks": 1, "downsamplings": 1}
    model = CycleGAN(64, generator_options=generators, discriminator_options={"filters": 4, "downsamplings": 1})
    model.save_to_preset(tmp_path / "preset")
    time.sleep(1.1)  # HDF5 counts seconds
    model.save_to_preset(tmp_path / "later")
    first, second = ((tmp_path / name / "model.weights.h5").read_bytes() for name in ("preset", "later"))
    assert first == second
    assert model.pool_a.images.shape == (50, 64, 64, 3)
    assert (tmp_path / "preset" / "model.weights.h5").stat().st_size < 200_000


def damaged(folder):
    data = bytearray((folder / "model.weights.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.weights.h5").write_bytes(bytes(data))


def other_model(folder):
    (folder / "config.json").write_text(json.dumps({"layout": 1, "model": "CycleGAN", "config": {}}))


def with_nan(folder):
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        largest = []
        file.visititems(lambda _, item: largest.append(item) if isinstance(item, h5py.Dataset) else None)
        max(largest, key=lambda item: item.size)[...] = np.nan
    PresetFolder(folder).write("VAE", json.loads((folder / "config.json").read_text())["config"], {})


def asking_for_gigabytes(folder):
    content = json.loads((folder / "config.json").read_text())
    PresetFolder(folder).write("VAE", {**content["config"], "hidden_units": 10**6}, {})


@pytest.mark.parametrize(
    ("spoil", "options", "sentence"),
    [
        (damaged, {}, "is damaged: its bytes"),
        (other_model, {}, "holds the preset of a CycleGAN, not of a VAE"),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), {}, "can't be read"),
        (lambda folder: (folder / "config.json").unlink(), {}, "is not a preset's folder: it lacks config.json"),
        (lambda folder: (folder / "model.weights.h5").unlink(), {}, "has no trained weights"),
        (lambda folder: None, {"latent_dim": 6}, "don't fit this configuration"),
        (with_nan, {}, r"can't be used \(weight .* holds NaN or infinity\)"),
        (asking_for_gigabytes, {}, "can't be used .its layers have more weights than"),
    ],
)
def test_what_cannot_be_loaded_is_said(trained, tmp_path, spoil, options, sentence):
    vae, _ = trained
    vae.save_to_preset(tmp_path / "mine")
    spoil(tmp_path / "mine")
    with pytest.raises(UserError, match=sentence):
        VAE.from_preset(tmp_path / "mine", **options)


def test_layers_that_another_thread_makes_are_not_of_the_file():
    """A server may load one model while another one is being built."""

    def make() -> None:
        keras.layers.Dense(4200).build((None, 4200))  # 70 MB of weights, more than any small file may ask for

    with ThreadPoolExecutor(1) as other, bounded_weights(10):
        other.submit(make).result()
        with pytest.raises(Fault, match="its layers have more weights than the 10 that it holds"):
            make()


@pytest.mark.parametrize(
    ("model", "name", "options", "sentence"),
    [
        (VAE, "vae_64", {}, "has no trained weights: train it by `kerasgen train vae_64`"),
        (VAE, "nowhere", {}, "There is no preset 'nowhere', and no folder of that name"),
        (VAE, "cyclegan_digits_ink", {}, "is a CycleGAN, not a VAE"),
        (VAE, "hf://user/preset", {"latent_dim": 6}, "don't fit this configuration"),
        (VAE, "hf://user/saved", {"load_weights": False}, "leave the other arguments out"),
        (CycleGAN, "hf://user/saved", {}, "holds a VAE, not a CycleGAN"),
        (VAE, "hf://user/code", {}, "its Lambda layer is code"),
        (VAE, "hf://user/huge", {}, "its layers have more weights than"),
        (VAE, "hf://user/deep", {}, "nested too deeply"),
        (VAE, "hf://user/nowhere", {}, "can't be downloaded"),
        (VAE, "hf://../..", {}, "can't be downloaded"),
    ],
)
def test_random_weights_are_never_handed_out(hub, model, name, options, sentence):
    with pytest.raises(UserError, match=sentence):
        model.from_preset(name, **options)


def test_what_hugging_face_gives_is_read_as_a_folder_is(hub, trained):
    """A preset's folder, and what `model.save` puts there."""
    for name in ("preset", "saved"):
        again = VAE.from_preset(f"hf://user/{name}")
        for found, kept in zip(again.get_weights(), trained[0].get_weights(), strict=True):
            np.testing.assert_array_equal(found, kept)
