"""Inputs and outputs as people name and nest them: kept as far as a format allows, and what changed is said."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasgen.errors import UserError
from kerasgen.export import ImageSpec, available_formats, export_model, verify
from kerasgen.export.contract.format import Format, Variant

FORMATS = tuple(available_formats())
PYTHON = {"class": "class_", "self": "self_", "1st_image": "input_1st_image", "größe": "gro_e"}
CHANGED = {"onnx": {"größe": "gro_e"}, "saved_model": PYTHON, "tflite": PYTHON, "openvino": PYTHON}


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_names_that_python_or_a_format_does_not_allow(format, tmp_path):
    vectors = [keras.Input((4,), name=name) for name in ("class", "self", "größe")]
    image = keras.Input((8, 8, 3), name="1st_image")
    x = layers.Conv2D(4, 3, padding="same")(image)
    for vector in vectors:
        x = x * layers.Reshape((1, 1, 4))(layers.Dense(4)(vector))
    model = keras.Model([*vectors, image], layers.Conv2D(3, 1)(x))
    random = np.random.default_rng(0)
    given = {name: random.normal(size=(2, 4)) for name in ("class", "self", "größe")}
    given["1st_image"] = random.random((2, 8, 8, 3))
    artifact = export_model(model, tmp_path / "net", format, inputs=given)
    names = set(artifact.signatures["serving_default"]["inputs"])
    assert names == {CHANGED[format].get(name, name) for name in given}
    assert json.loads(artifact.manifest.read_text())["renamed"] == {"inputs": CHANGED[format], "outputs": {}}
    assert verify(artifact.path, model, given).passed


@pytest.mark.parametrize("format", FORMATS)
def test_an_output_that_is_an_input(format, tmp_path):
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, [image, layers.Conv2D(2, 3, name="features")(image)])
    artifact = export_model(model, tmp_path / "net", format)
    assert set(artifact.signatures["serving_default"]["outputs"]) == {"generated_image", "features"}
    assert json.loads(artifact.manifest.read_text())["renamed"]["outputs"] == {"image": "generated_image"}


@pytest.mark.parametrize("format", FORMATS)
def test_one_output_by_two_names(format, tmp_path):
    image = keras.Input((8, 8, 3))
    features = layers.Conv2D(2, 3)(image)
    labels = ops.argmax(features, axis=-1)
    outputs = {"first": features, "labels": labels, "second": features, "third": labels}
    artifact = export_model(keras.Model(image, outputs), tmp_path / "net", format)
    assert set(artifact.signatures["serving_default"]["outputs"]) == set(outputs)


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_any_rank_dtype_and_nesting(format, tmp_path):
    ids, video = keras.Input((5,), dtype="int32", name="ids"), keras.Input((4, 6, 6, 2), name="video")
    strength = keras.Input((), name="strength")
    embedded = layers.GlobalAveragePooling1D()(layers.Embedding(10, 4)(ids))
    seen = layers.GlobalAveragePooling3D()(layers.Conv3D(4, 3)(video))
    result = (embedded + seen) * ops.reshape(strength, (-1, 1))
    model = keras.Model({"text": [ids], "seen": {"video": video, "by": strength}}, {"a": result, "b": [result * 2.0]})
    random = np.random.default_rng(0)
    given = {
        "text": [random.integers(0, 10, (3, 5))],
        "seen": {"video": random.random((3, 4, 6, 6, 2)), "by": random.random(3)},
    }
    artifact = export_model(model, tmp_path / "net", format, inputs=given)
    assert set(artifact.signatures["serving_default"]["outputs"]) == {"a", "b"}
    assert verify(artifact.path, model, given).passed


@pytest.mark.parametrize(
    ("name", "legal"),
    [("photo", "photo"), ("lambda", "lambda_"), ("2x", "input_2x"), ("é/ü", "e_u"), ("図", "input__")],
)
def test_the_nearest_legal_name(name, legal):
    form = Format("X", ".x", (Variant("float32"),), names=r"[A-Za-z]\w*", reserved=("lambda",))
    assert form.legal(name, "input") == legal


def flow_and_picture() -> keras.Model:
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same")(image)
    outputs = {"flow": layers.Conv2D(2, 1)(x), "mask": layers.Conv2D(1, 1)(x), "result": layers.Conv2D(3, 1)(x)}
    return keras.Model(image, outputs, name="net")


def test_which_tensors_are_pictures_is_said(tmp_path):
    spec = ImageSpec(value_range=(0, 1), pictures=("image", "result"))
    model = flow_and_picture()
    artifact = export_model(model, tmp_path / "net", "onnx", image=spec)
    outputs = artifact.signatures["serving_default"]["outputs"]
    assert {name: info["dtype"] for name, info in outputs.items()} == {
        "flow": "float32",
        "mask": "float32",
        "result": "uint8",
    }
    assert json.loads(artifact.manifest.read_text())["pictures"] == ["image", "result"]
    assert verify(artifact.path, model).passed


@pytest.mark.parametrize(
    ("shape", "spec", "message"),
    [
        ((16, 16, 3), ImageSpec(), r"'flow'.*\(None, 16, 16, 2\).*ImageSpec\(pictures="),
        ((16, 16, 3), ImageSpec(pictures=("image", "vector")), r"'vector' of 'net' is float32 of the shape"),
        ((16, 16, 3), ImageSpec(pictures=("photo",)), r"pictures names 'photo', but.*image, flow, vector"),
        ((3, 16, 16), ImageSpec(pictures=("image",)), "build a channels_first network channels_last"),
    ],
)
def test_what_cannot_be_a_picture_is_refused(shape, spec, message, tmp_path):
    image = keras.Input(shape, name="image")
    x = layers.Conv2D(2, 1, name="flow")(image)
    model = keras.Model(image, [x, layers.GlobalAveragePooling2D(name="vector")(x)], name="net")
    with pytest.raises(UserError, match=message):
        export_model(model, tmp_path / "net", "onnx", image=spec)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spec", [ImageSpec(), ImageSpec(size=64), ImageSpec(pictures=())])
@pytest.mark.parametrize("shape", [(4,), (4, 8, 8, 3)])
@pytest.mark.parametrize("format", ["onnx", "saved_model"])
def test_an_image_spec_without_pictures_is_refused(shape, spec, format, tmp_path):
    numbers = keras.Input(shape, name="numbers")
    model = keras.Model(numbers, layers.Dense(2)(numbers), name="net")
    with pytest.raises(UserError, match=r"'net' has no tensor of the shape .* leave the ImageSpec out"):
        export_model(model, tmp_path / "net", format, image=spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": (0, 1)}, r"image is \(0, 1\): give an ImageSpec"),
        ({"also": [1]}, "also is a list: give a dict of models"),
        ({"variant": None}, "onnx has no variant None: choose one of float32"),
    ],
)
def test_an_argument_of_another_type_gets_a_sentence(options, message, tmp_path):
    numbers = keras.Input((4,))
    with pytest.raises(UserError, match=message):
        export_model(keras.Model(numbers, layers.Dense(2)(numbers)), tmp_path / "net", "onnx", **options)
