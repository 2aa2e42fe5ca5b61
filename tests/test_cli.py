"""The command line, called as the installed command calls it."""

import csv
import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A short training of vae_digits."""
    from kerasgen.commands.train import train

    return train("vae_digits", tmp_path_factory.mktemp("runs") / "digits", epochs=2, seed=1).folder


def test_a_run_folder_says_all_of_the_run(run_folder):
    files = sorted(p.relative_to(run_folder).as_posix() for p in run_folder.rglob("*") if p.is_file())
    pictures = [f"pictures/epoch_000{i}.png" for i in range(3)]
    checkpoints = [f"checkpoints/step_000000{step}.npz" for step in (23, 46)]
    assert files == sorted(
        [
            "config.json",
            "log.csv",
            "model.keras",
            "curves.png",
            "report.html",
            "health.json",
            "reconstructions.png",
            *pictures,
            *checkpoints,
        ]
    )
    config = json.loads((run_folder / "config.json").read_text())
    assert config["layout"] == 1
    assert config["preset"] == "vae_digits"
    assert config["seed"] == 1
    assert config["epochs"] == 2
    assert config["config"]["latent_dim"] == 12
    assert {"tensorflow", "keras", "kerasgen"} <= config["versions"].keys()
    with open(run_folder / "log.csv", newline="") as file:
        elbo = [float(row["val_elbo"]) for row in csv.DictReader(file)]
    assert len(elbo) == 2
    assert elbo[1] > elbo[0]


def test_the_same_seed_trains_the_same_model(run_folder, tmp_path):
    from kerasgen.commands.train import train
    from kerasgen.runs import load_model

    again = train("vae_digits", tmp_path / "again", epochs=2, seed=1).model
    for a, b in zip(load_model(run_folder).get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
def test_train_generate_and_export(kerasgen, tmp_path):
    code, out, _ = kerasgen("train", "vae_digits", "--output", tmp_path / "run", "--epochs", 1)
    assert code == 0
    assert "val_elbo" in out
    code, out, _ = kerasgen("generate", tmp_path / "run", "--output", tmp_path / "new", "--n", 6, "--label", 3)
    assert code == 0
    assert len(list((tmp_path / "new").glob("000?.png"))) == 6
    with Image.open(tmp_path / "new" / "0000.png") as image:
        assert image.size == (16, 16)
    code, out, _ = kerasgen("export", tmp_path / "run", "--output", tmp_path / "out", "--format", "onnx, tflite")
    assert code == 0
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"decoder.onnx", "decoder.tflite", "encoder.onnx", "encoder.tflite"} <= names
    assert "decoder.onnx" in out
    options = ("--format", "tflite", "--variant", "float32,float16")
    code, out, _ = kerasgen("export", tmp_path / "run", "--output", tmp_path / "half", *options)
    assert code == 0
    sizes = {p.name: p.stat().st_size for p in (tmp_path / "half").glob("*.tflite")}
    assert sizes["decoder.float16.tflite"] < 0.6 * sizes["decoder.tflite"]


@pytest.mark.slow
def test_train_on_a_folder_of_pictures(kerasgen, tmp_path):
    from sklearn.datasets import load_sample_image

    (tmp_path / "pictures").mkdir()
    photo = Image.fromarray(load_sample_image("china.jpg"))
    for i in range(36):
        photo.crop((10 * i, 5 * i, 10 * i + 96, 5 * i + 96)).save(tmp_path / "pictures" / f"{i}.jpg")
    (tmp_path / "pictures" / "broken.jpg").write_bytes(b"no picture")
    source = f"folder:{tmp_path / 'pictures'}"
    code, _, err = kerasgen("train", "vae_64", "--data", source, "--output", tmp_path / "run", "--epochs", 1)
    assert code == 0
    assert "broken.jpg" in err
    assert (tmp_path / "run" / "model.keras").exists()


def test_translate_a_folder_with_a_run_and_with_a_generator_alone(kerasgen, tmp_path):
    from sklearn.datasets import load_sample_image

    from kerasgen.models import CycleGAN
    from kerasgen.runs import save_model

    (tmp_path / "in" / "sub").mkdir(parents=True)
    photo = Image.fromarray(load_sample_image("flower.jpg")).resize((90, 61))
    photo.save(tmp_path / "in" / "sub" / "flower.bmp")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no picture")
    options = {"generator_options": {"filters": 4, "blocks": 1}, "discriminator_options": {"filters": 4}}
    gan = CycleGAN(32, **options)
    save_model(gan, tmp_path / "run" / "model.keras")
    save_model(gan.generator_b2a, tmp_path / "net_G_B.keras")

    found, said = [], ""
    for model, output, *rest in (
        (tmp_path / "run", tmp_path / "one", "--direction", "b2a"),
        (tmp_path / "net_G_B.keras", tmp_path / "two"),
    ):
        code, out, err = kerasgen("translate", model, "--input", tmp_path / "in", "--output", output, *rest)
        assert code == 0, err
        assert f"1 picture is in {output}; 1 was skipped." in out
        said += err
        with Image.open(output / "sub" / "flower.png") as image:
            found.append(np.asarray(image))
    # Once a process, however often the folder is read.
    assert said.count("1 of 2 files are left out; 1 unreadable: broken.jpg can't be read as a picture") == 1
    expected = gan.translate(np.asarray(photo, np.float32) / 127.5 - 1, "b2a")
    np.testing.assert_allclose(found[0], (expected + 1) * 127.5, atol=0.6)
    np.testing.assert_array_equal(found[0], found[1])


def test_a_way_from_picture_to_picture(kerasgen, run_folder, digits, tmp_path):
    from kerasgen.runs import load_model

    for i in (3, 13):  # both a 3
        Image.fromarray((digits["image"][i, ..., 0] * 255).astype("uint8")).resize((16, 16)).save(
            tmp_path / f"{i}.png"
        )
    ends = ("--from", tmp_path / "3.png", "--to", tmp_path / "13.png")
    code, _, err = kerasgen(
        "interpolate", run_folder, *ends, "--output", tmp_path / "way", "--steps", 4, "--label", "3"
    )
    assert code == 0, err
    assert sorted(p.name for p in (tmp_path / "way").iterdir()) == [*(f"000{i}.png" for i in range(4)), "way.png"]
    vae, end = load_model(run_folder), np.asarray(Image.open(tmp_path / "13.png"))[None, ..., None] / np.float32(255)
    last = np.asarray(Image.open(tmp_path / "way" / "0003.png"))
    right = vae.reconstruct(end, np.array([3]))[0, ..., 0] * 255
    assert np.abs(last.reshape(16, 16, -1)[..., 0] - right).max() <= 1
    for options, message in (
        ((*ends, "--output", tmp_path / "no"), "give the --label of both"),
        ((*ends, "--output", tmp_path / "no", "--label", "cats"), "No class is called 'cats': give one of"),
        (("--from", "/nowhere", "--to", "/nowhere", "--output", tmp_path / "no"), "no file /nowhere"),
        ((*ends, "--output", tmp_path / "no", "--steps", 1, "--label", 3), "--steps is 1"),
    ):
        code, _, err = kerasgen("interpolate", run_folder, *options)
        assert code == 2
        assert message in err
    assert not (tmp_path / "no").exists()


def test_a_fitted_sampler_stays_in_the_run(kerasgen, run_folder, tmp_path):
    line = ("generate", run_folder, "--n", 4, "--sampler", "gaussian_mixture", "--output")
    assert kerasgen(*line, tmp_path / "first")[0] == 0
    (kept,) = (run_folder / "samplers").iterdir()
    written = kept.stat().st_mtime_ns
    assert kerasgen(*line, tmp_path / "second")[0] == 0
    assert kept.stat().st_mtime_ns == written
    first, second = ((tmp_path / name / "grid.png").read_bytes() for name in ("first", "second"))
    assert first == second
    assert kerasgen(*line, tmp_path / "third", "--temperature", 0.5)[0] == 0
    assert len(list((run_folder / "samplers").iterdir())) == 2


def test_list_names_everything(kerasgen):
    code, out, _ = kerasgen("list")
    assert code == 0
    for name in ("vae_digits", "cyclegan_resnet_9", "digits", "folder:PATH", "saved_model", "tflite", "onnx"):
        assert name in out
    assert "49.6 GMAC" in out
    assert "transposed ones at their input's resolution" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "vae_digit", "--output", "{}"), "no preset 'vae_digit'"),
        (("train", "vae_digits", "--output", "{}", "--data", "digit"), "no data source 'digit'"),
        (("train", "vae_digits", "--output", "{}", "--data", "folder:/nowhere"), "/nowhere"),
        (("train", "vae_digits", "--output", "{}", "--epochs", "0"), "--epochs is 0"),
        (("train", "vae_64", "--output", "{}"), "--data folder:PATH"),
        (("train", "cyclegan_resnet_9", "--output", "{}"), "--data-a"),
        (("generate", "/nowhere", "--output", "{}"), "no model at /nowhere"),
        (("export", "/nowhere", "--output", "{}"), "no model at /nowhere"),
        (("translate", "/nowhere", "--input", "/nowhere", "--output", "{}"), "no model at /nowhere"),
        (("translate", "/nowhere", "--output", "{}"), "--input"),
        (("quickstart", "--model", "gan", "--output", "{}"), "no quickstart for 'gan'"),
        (("train", "vae_digits"), "--output"),
        (("train", "vae_digits", "--output", "{}", "--resume"), "holds no run to resume"),
        (("train", "vae_digits", "--output", "{}", "--strategy", "two"), "no strategy 'two'"),
        (("train", "vae_digits", "--output", "{}", "--precision", "float16"), "no precision 'float16'"),
        (("train", "vae_digits", "--output", "{}", "--precision", "mixed_float16"), "slower than float32 on a CPU"),
        (("train", "vae_digits", "--output", "{}", "--keep", "0"), "keep is 0"),
    ],
)
def test_mistakes_get_a_sentence_and_exit_code_2(kerasgen, tmp_path, arguments, message):
    code, _, err = kerasgen(*(a.format(tmp_path / "out") for a in arguments))
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_mistakes_with_a_trained_model(kerasgen, run_folder, tmp_path):
    for arguments, message in (
        (("train", "vae_digits", "--output", run_folder), "holds a run already"),
        (("train", "vae_digits", "--output", run_folder, "--resume", "--seed", 2), "begun with "),
        (("generate", run_folder, "--output", tmp_path, "--label", 10), "classes 0 to 9"),
        (("generate", run_folder, "--output", tmp_path, "--temperature", 0), "above 0"),
        (("translate", run_folder, "--input", tmp_path, "--output", tmp_path / "out"), "which can't translate a2b"),
        (
            ("translate", run_folder, "--input", tmp_path, "--output", tmp_path / "out", "--direction", "ab"),
            "direction='ab' is unknown",
        ),
        (("export", run_folder, "--output", tmp_path, "--format", "pb"), "'pb'"),
        (("export", run_folder, "--output", tmp_path, "--variant", "int3"), "the variant 'int3'"),
        (("export", run_folder / "log.csv", "--output", tmp_path), "can't be read as a Keras model"),
    ):
        code, _, err = kerasgen(*arguments)
        assert code == 2, err
        assert message in err
    (tmp_path / "file").write_text("")
    code, _, err = kerasgen("generate", run_folder, "--output", tmp_path / "file")
    assert code == 2
    assert "can't be written" in err
    code, _, err = kerasgen("train", "vae_digits", "--output", tmp_path / "file", "--epochs", 1)
    assert code == 2
    assert "can't be written" in err
