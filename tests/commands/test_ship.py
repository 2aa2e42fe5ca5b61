"""From a trained run to artifacts that take pictures, and back: export, verify, benchmark on real data."""

import json

import keras
import numpy as np
import onnxruntime
import pytest
from PIL import Image

from kerasgen.commands.ship import read_pictures, shipments
from kerasgen.commands.train import train
from kerasgen.data import load
from kerasgen.errors import UserError
from kerasgen.export import export_model
from kerasgen.models import PairedTranslator
from kerasgen.runs import load_model


@pytest.fixture(scope="module")
def vae_run(tmp_path_factory):
    return train("vae_digits", tmp_path_factory.mktemp("runs") / "digits", epochs=2).folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six photographs of different sizes, one of them gray."""
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("pictures")
    for i in range(6):
        photo = Image.fromarray(load_sample_images().images[i % 2][50 * i : 50 * i + 61, : 80 + i])
        (photo.convert("L") if i == 5 else photo).save(folder / f"{i}.png")
    return folder


@pytest.mark.slow
def test_a_run_ships_its_networks_on_its_own_data(vae_run):
    decoder, encoder = shipments(vae_run)
    batch = next(iter(load("digits", split="test", image_size=16, batch_size=16)))
    np.testing.assert_array_equal(encoder.inputs["image"], batch["image"])
    np.testing.assert_allclose(
        decoder.inputs["z"], load_model(vae_run).encode(batch["image"], batch["label"]).mean, atol=1e-6
    )
    assert set(decoder.also) == {"encode", "reconstruct"}
    assert encoder.also == {}
    # What calibrates is the training data's.
    assert len(encoder.calibration["image"]) == 100
    assert not any((encoder.calibration["image"] == image).all() for image in encoder.inputs["image"])


@pytest.mark.slow
def test_export_verify_and_benchmark_a_generator(kerasgen, ink_run, pictures, tmp_path):
    options = ["--format", "tflite,onnx", "--variant", "float32,dynamic_int8,static_int8", "--license", "CC-BY-4.0"]
    code, said, errors = kerasgen("export", ink_run, "--output", tmp_path, *options)
    assert code == 0, errors
    names = {f"generator_{d}{v}{s}" for d in ("a2b", "b2a") for v in VARIANTS for s in (".tflite", ".onnx")}
    assert names == {p.name for p in tmp_path.iterdir() if "manifest" not in p.name}
    manifest = json.loads((tmp_path / "generator_a2b.static_int8.onnx.manifest.json").read_text())
    assert manifest["calibration"]["examples"] == 100
    assert manifest["license"] == "CC-BY-4.0"
    assert manifest["image"]["value_range"] == [-1.0, 1.0]

    artifact = tmp_path / "generator_a2b.onnx"
    code, said, errors = kerasgen("verify", artifact, "--against", ink_run, "--images", pictures)
    assert code == 0, errors
    assert "6 examples" in said
    assert "SSIM" in said
    with Image.open(tmp_path / "generator_a2b.onnx.worst.png") as picture:
        assert picture.size[0] > picture.size[1] * 0.5
    code, said, _ = kerasgen("benchmark", artifact, tmp_path / "generator_a2b.tflite", "--against", ink_run)
    assert code == 0
    assert "in 1" in said
    assert kerasgen("benchmark", artifact)[0] == 0


VARIANTS = ("", ".dynamic_int8", ".static_int8")


@pytest.mark.slow
def test_verify_finds_another_model(kerasgen, ink_run, vae_run, tmp_path):
    assert kerasgen("export", ink_run, "--output", tmp_path, "--format", "onnx")[0] == 0
    generator = load_model(ink_run).generator_a2b
    generator.set_weights([w + 0.01 for w in generator.get_weights()])
    generator.save(tmp_path / "other.keras")
    code, _, errors = kerasgen("verify", tmp_path / "generator_a2b.onnx", "--against", tmp_path / "other.keras")
    assert code == 1
    assert "is not equal" in errors
    code, _, errors = kerasgen("verify", tmp_path / "generator_a2b.onnx", "--against", vae_run)
    assert code == 2
    assert "made from the network 'generator_a2b'" in errors


def test_any_keras_file_with_a_range_takes_pictures(kerasgen, pictures, tmp_path):
    image = keras.Input((None, None, 3), name="photo")
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    keras.Model(image, keras.layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="result")(x)).save(
        tmp_path / "own.keras"
    )
    options = ["--format", "onnx", "--range=-1,1", "--images", pictures, "--size", "48", "--opset", "17"]
    code, _, errors = kerasgen("export", tmp_path / "own.keras", "--output", tmp_path, *options)
    assert code == 0, errors
    session = onnxruntime.InferenceSession(tmp_path / "own.onnx")
    assert session.get_inputs()[0].shape == ["batch", 48, 48, 3]
    assert session.get_inputs()[0].type == "tensor(uint8)"


def test_floats_stay_floats(kerasgen, vae_run, tmp_path):
    options = ["--format", "onnx", "--floats", "--layout", "nchw"]
    assert kerasgen("export", vae_run, "--output", tmp_path, *options)[0] == 0
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    assert session.get_inputs()[0].type == "tensor(float)"
    assert session.get_inputs()[0].shape[1:] == [1, 16, 16]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "float8"], "None of the formats has the variant 'float8'"),
        (["--format", "onnx,pb"], "There is no export format 'pb'"),
        (["--range", "0;1"], "give two numbers"),
        (["--range", "0,1"], "leave --range out"),
        (["--images", "nowhere"], "There is no folder 'nowhere'"),
        (["--format", "onnx", "--opset", "30"], "Opset 30 can't be written"),
        (["--format", "tflite", "--layout", "nchw"], "--layout is nchw, but tflite has no such option"),
    ],
)
def test_mistakes_get_a_sentence(kerasgen, vae_run, tmp_path, options, message):
    code, _, errors = kerasgen("export", vae_run, "--output", tmp_path / "out", *options)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_folder_of_classes_is_read_from_all_of_them(tmp_path):
    for name, level in (("a_dark", 10), ("b_bright", 250)):
        (tmp_path / name).mkdir()
        for i in range(150):
            Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(tmp_path / name / f"{i}.png")
    levels = read_pictures(tmp_path, (4, 4), 3)[:, 0, 0, 0] * 255
    assert len(levels) == 116
    for part in (levels[:16], levels[16:]):
        assert 0.25 < np.mean(part > 128) < 0.75


@pytest.mark.parametrize("floats", [False, True])
def test_a_size_counts_without_a_range(floats, tmp_path):
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image)).save(tmp_path / "open.keras")
    (shipment,) = shipments(tmp_path / "open.keras", size=48, floats=floats)
    artifact = export_model(shipment.network, tmp_path / "open", "tflite", **shipment.options("tflite"))
    assert artifact.signatures["serving_default"]["inputs"]["input"]["shape"] == [1, 48, 48, 3]


def test_a_size_counts_for_a_model_of_this_zoo_that_has_no_data(tmp_path):
    model = PairedTranslator("super_resolver", generator_options={"scale": 2, "filters": 4, "blocks": 1})
    model.save(tmp_path / "own.keras")
    (shipment,) = shipments(tmp_path / "own.keras", size=24, floats=True)
    assert {name: pictures.shape for name, pictures in shipment.inputs.items()} == {"image": (2, 24, 24, 3)}
    assert shipments(tmp_path / "own.keras", floats=True)[0].inputs is None


def test_a_size_that_a_network_does_not_have_is_refused(tmp_path):
    image = keras.Input((32, 32, 3))
    keras.Model(image, keras.layers.Conv2D(3, 3)(image)).save(tmp_path / "fixed.keras")
    with pytest.raises(UserError, match=r"size is 64, but .* takes pictures of 32×32 pixels and no others"):
        shipments(tmp_path / "fixed.keras", size=64)
    with pytest.raises(UserError, match="size is 0"):
        shipments(tmp_path / "fixed.keras", size=0)
    assert shipments(tmp_path / "fixed.keras", size=32)[0].name == "fixed"


def test_a_size_of_what_takes_no_picture_is_refused(tmp_path):
    numbers, image = keras.Input((4,)), keras.Input((8, 8, 3))
    keras.Model(numbers, keras.layers.Dense(2)(numbers)).save(tmp_path / "dense.keras")
    keras.Model([image, numbers], keras.layers.Dense(2)(numbers)).save(tmp_path / "two.keras")
    for name in ("dense", "two"):
        with pytest.raises(UserError, match=f"{name}.keras doesn't take one picture, .* leave --size out"):
            shipments(tmp_path / f"{name}.keras", size=8)
    assert shipments(tmp_path / "two.keras", size=8, value_range=(0, 1))[0].image.size == (8, 8)
