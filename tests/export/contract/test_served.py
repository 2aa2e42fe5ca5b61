"""What artifacts offer beside floats: uint8 pictures, picture files, seeds, further networks, layouts, opsets."""

import io
import json
import zipfile

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from kerasgen.commands.translate import translate_folder
from kerasgen.errors import UserError
from kerasgen.export import ImageSpec, export_model, verify
from kerasgen.networks import conv_decoder, conv_encoder, resnet_generator, unet_generator


@pytest.fixture(scope="module")
def generator():
    keras.utils.set_random_seed(1)
    return resnet_generator(filters=4, blocks=1)


@pytest.fixture(scope="module")
def photos():
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    return np.stack([china[:32, :48], flower[200:232, 300:348]])


def by_hand(generator, pictures):
    """The formula of the manifest in NumPy around the Keras network."""
    output = np.asarray(generator(pictures.astype("float32") / 127.5 - 1.0))
    return np.round((np.clip(output, -1, 1) + 1) * 127.5).astype("int32")


def session_of(path):
    session = tf.compat.v1.Session(graph=tf.Graph())
    signatures = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path)).signature_def

    def run(signature, **inputs):
        definition = signatures[signature]
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        return session.run({name: info.name for name, info in definition.outputs.items()}, feed)

    return run, set(signatures) - {"__saved_model_init_op"}


@pytest.fixture(scope="module")
def served(generator, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    artifact = export_model(generator, folder / "net", inputs=photos, image=ImageSpec(multiple=4), license="CC0-1.0")
    return artifact, *session_of(artifact.path)


def test_a_saved_model_takes_pictures_floats_and_files(served, generator, photos):
    _, run, names = served
    assert names == {"serving_default", "float", "bytes"}
    expected = by_hand(generator, photos)
    result = run("serving_default", image=photos)["generated"]
    assert result.dtype == np.uint8
    assert np.abs(result.astype("int32") - expected).max() <= 1
    floats = photos.astype("float32") / 127.5 - 1.0
    np.testing.assert_allclose(run("float", image=floats)["generated"], generator(floats), atol=1e-4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "gray PNG"])
def test_files_go_in_and_png_comes_out(served, generator, photos, kind):
    _, run, _ = served
    files, pictures = [], []
    for photo in photos:
        stream, image = io.BytesIO(), Image.fromarray(photo).convert("L" if kind == "gray PNG" else "RGB")
        image.save(stream, format=kind.split()[-1])
        files.append(stream.getvalue())
        pictures.append(np.asarray(Image.open(io.BytesIO(files[-1])).convert("RGB")))
    answers = run("bytes", image_bytes=np.array(files, object))["generated_bytes"]
    found = np.stack([np.asarray(Image.open(io.BytesIO(answer))) for answer in answers]).astype("int32")
    assert np.abs(found - by_hand(generator, np.stack(pictures))).max() <= 1


@pytest.mark.parametrize("size", [None, (16, 24)])
def test_files_become_four_channels_as_pillow_makes_them(photos, size, tmp_path):
    """As a network that fills holes takes them: what has no transparency is opaque."""
    image = keras.Input((*(size or (None, None)), 4), name="image")
    network = keras.Model(image, keras.layers.Identity(name="same")(image))
    artifact = export_model(network, tmp_path / "net", image=ImageSpec())
    photo = Image.fromarray(photos[0])
    clear = photo.copy()
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    palette, key = photo.quantize(16), photo.getpixel((5, 7))
    kinds = {
        "JPEG": (photo, {}),
        "gray JPEG": (photo.convert("L"), {}),
        "small JPEG": (photo.crop((0, 0, 1, 2)), {}),
        "PNG": (photo, {}),
        "PNG of a pixel": (photo.crop((0, 0, 1, 1)), {}),
        "gray PNG": (photo.convert("L"), {}),
        "gray and clear PNG": (clear.convert("LA"), {}),
        "clear PNG": (clear, {}),
        "clear palette PNG": (palette, {"transparency": 3}),
        "clear color PNG": (photo, {"transparency": key}),
    }
    files, wanted = [], []
    for kind, (picture, options) in kinds.items():
        stream = io.BytesIO()
        picture.save(stream, "JPEG" if "JPEG" in kind else "PNG", **options)
        files.append(stream.getvalue())
        wanted.append(np.asarray(Image.open(stream).convert("RGBA")))
    deep = np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype("uint16")
    stream = io.BytesIO()
    Image.fromarray(deep).save(stream, "PNG")
    files.append(stream.getvalue())
    wanted.append(np.stack([deep >> 8] * 3 + [np.full_like(deep, 255)], axis=-1).astype("uint8"))
    run, names = session_of(artifact.path)
    assert "bytes" in names
    answers = run("bytes", image_bytes=np.array(files, object))["same_bytes"]
    for kind, answer, pixels in zip([*kinds, "deep PNG"], answers, wanted, strict=True):
        found = np.asarray(Image.open(io.BytesIO(answer)), "int32")
        if size is not None:
            resized = tf.image.resize(pixels, size, "bicubic", antialias=True)
            pixels = np.clip(np.round(resized), 0, 255)
        assert found.shape == pixels.shape, kind
        assert np.abs(found - pixels.astype("int32")).max() <= 1, kind


def test_every_size_comes_back_at_its_size(served, generator, photos, tmp_path):
    """The sides are not multiples of 4: what `kerasgen translate` makes of the same picture is the truth."""
    _, run, _ = served
    odd = photos[:1, :30, :41]
    (tmp_path / "in").mkdir()
    Image.fromarray(odd[0]).save(tmp_path / "in" / "a.png")
    (translated,) = translate_folder(generator, tmp_path / "in", tmp_path / "out").written
    expected = np.asarray(Image.open(translated)).astype("int32")
    assert np.abs(run("serving_default", image=odd)["generated"][0].astype("int32") - expected).max() <= 1


def test_a_wrong_rank_is_an_error_and_no_abort(served):
    _, run, _ = served
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        run("serving_default", image=np.zeros((32, 32, 3), "uint8"))


def test_a_decoder_generates_from_a_seed(tmp_path, digits):
    decoder, encoder = conv_decoder(4, (8, 8, 1), (8, 8), 16, 10), conv_encoder((8, 8, 1), 4, (8, 8), 16, 10)
    labels = np.eye(10, dtype="float32")[digits["label"][:6]]
    inputs = {"z": np.random.default_rng(0).normal(size=(6, 4)).astype("float32"), "label": labels}
    encoded = {"image": digits["image"][:6], "label": labels}
    artifact = export_model(
        decoder,
        tmp_path / "digits",
        inputs=inputs,
        image=ImageSpec(value_range=(0, 1)),
        also={"encode": (encoder, encoded)},
    )
    run, names = session_of(artifact.path)
    assert names == {"serving_default", "float", "generate", "encode"}
    expected = np.round(np.asarray(decoder(inputs)) * 255).astype("int32")
    assert np.abs(run("serving_default", **inputs)["image"].astype("int32") - expected).max() <= 1
    first, again, other = (run("generate", seed=seed, n=6, label=labels)["image"] for seed in (1, 1, 2))
    assert first.shape == (6, 8, 8, 1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    one, each = (run("generate", seed=3, n=5, label=np.repeat(labels[:1], n, 0))["image"] for n in (1, 5))
    assert len(one) == 5
    assert np.array_equal(one, each)  # one label for all
    pictures = np.round(digits["image"][:6] * 255).astype("uint8")
    mean = encoder({"image": pictures / np.float32(255), "label": labels})["z_mean"]
    np.testing.assert_allclose(run("encode", image=pictures, label=labels)["z_mean"], mean, atol=1e-4)


def test_generated_latents_are_standard_normal(tmp_path):
    z = keras.Input((50,), name="z")
    image = keras.layers.Reshape((5, 10, 1), name="image")(z)
    artifact = export_model(keras.Model(z, image), tmp_path / "net", image=ImageSpec(value_range=(-4, 4)))
    values = session_of(artifact.path)[0]("generate", seed=3, n=4000)["image"] / 255 * 8 - 4
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.01


def test_tflite_takes_and_gives_uint8(generator, photos, tmp_path):
    artifact = export_model(
        generator, tmp_path / "net", format="tflite", inputs=photos, image=ImageSpec(size=(32, 48), multiple=4)
    )
    runner = Interpreter(str(artifact.path)).get_signature_runner("serving_default")
    found = runner(image=photos[:1])["generated"]
    assert found.dtype == np.uint8
    assert np.abs(found.astype("int32") - by_hand(generator, photos[:1])).max() <= 1


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("opset", [13, 18, 22])
def test_onnx_in_both_layouts_and_every_generation_of_opsets(generator, photos, layout, opset, tmp_path):
    artifact = export_model(
        generator, tmp_path / "net", "onnx", inputs=photos, image=ImageSpec(multiple=4), layout=layout, opset=opset
    )
    model = onnx.load(artifact.path)
    assert model.opset_import[0].version == opset
    assert sum(node.op_type == "Transpose" for node in model.graph.node) == (2 if layout == "nhwc" else 0)
    names = [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert [n for n in names if n] == ["batch", "height", "width"]
    session = onnxruntime.InferenceSession(artifact.path)
    sent = photos.transpose(0, 3, 1, 2) if layout == "nchw" else photos
    (found,) = session.run(None, {"image": sent})
    found = found.transpose(0, 2, 3, 1) if layout == "nchw" else found
    assert np.abs(found.astype("int32") - by_hand(generator, photos)).max() <= 1
    assert verify(artifact.path, generator, photos[:, :16, :20]).passed


def test_the_manifest_is_in_the_file_too(served, generator, photos, tmp_path):
    saved = served[0]
    tflite = export_model(generator, tmp_path / "net", "tflite", inputs=photos, image=ImageSpec(), license="CC0-1.0")
    onnx_file = export_model(generator, tmp_path / "net", "onnx", inputs=photos, image=ImageSpec(), license="CC0-1.0")
    inside = [
        (saved, json.loads((saved.path / "assets.extra" / "kerasgen.json").read_text())),
        (tflite, json.loads(zipfile.ZipFile(tflite.path).read("metadata.json"))),
        (onnx_file, json.loads({p.key: p.value for p in onnx.load(onnx_file.path).metadata_props}["kerasgen"])),
    ]
    for artifact, notes in inside:
        beside = json.loads(artifact.manifest.read_text())
        assert beside["sha256"] == artifact.sha256
        assert {name: beside[name] for name in notes} == notes
        assert notes["license"] == "CC0-1.0"
        assert beside["runtime_floor"].split()[-1]


def test_the_golden_pair_is_what_a_client_computes(generator, photos, tmp_path):
    """The rule of the manifest, written again as a client would, and the file run on it."""
    artifact = export_model(generator, tmp_path / "net", "onnx", inputs=photos, image=ImageSpec())
    golden = json.loads(artifact.manifest.read_text())["golden"]
    shape = golden["inputs"]["image"]["shape"]
    assert shape == [1, 32, 48, 3]
    picture = np.array([(i * 2654435761 % 2**32) * 256 >> 32 for i in range(np.prod(shape))], "uint8").reshape(shape)
    (found,) = onnxruntime.InferenceSession(artifact.path).run(None, {"image": picture})
    expected = golden["outputs"]["generated"]
    assert list(found.shape) == expected["shape"]
    difference = found.reshape(-1)[expected["positions"]].astype("int32") - expected["values"]
    assert np.abs(difference).max() <= 1
    assert len(set(expected["values"])) > 4


@pytest.mark.slow
def test_a_mixed_precision_network_is_exported_in_float32(photos, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = resnet_generator(filters=4, blocks=1)
    finally:
        keras.config.set_dtype_policy("float32")
    plain = resnet_generator(filters=4, blocks=1)
    plain.set_weights(network.get_weights())
    floats = photos.astype("float32") / 127.5 - 1.0
    assert np.abs(np.asarray(network(floats)) - np.asarray(plain(floats))).max() > 1e-3
    for format in ("saved_model", "tflite", "onnx"):
        artifact = export_model(network, tmp_path / "net", format, inputs=floats)
        assert artifact.parity["max_difference"] <= 1e-4
        assert verify(artifact.path, plain, floats).passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"image": ImageSpec(multiple=4), "format": "tflite", "inputs": np.zeros((1, 30, 32, 3), "uint8")},
            "divisible",
        ),
        ({"image": ImageSpec(size=64, multiple=4), "format": "onnx", "inputs": np.zeros((1, 32, 32, 3))}, "64×64"),
        ({"format": "tflite", "layout": "nchw"}, "tflite has no option 'layout'"),
        ({"format": "saved_model", "opset": 13}, "saved_model has no option 'opset'"),
        ({"format": "onnx", "layout": "hwc"}, "There is no layout 'hwc'"),
        ({"format": "onnx", "opset": 12}, "Opset 12 can't be written"),
        ({"format": "onnx", "also": {"x": None}}, "onnx has no option 'also'"),
    ],
)
def test_options_that_do_not_fit(generator, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        export_model(generator, tmp_path / "net", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 30, "multiple": 4}, "divisible by 4"),
        ({"value_range": (1, 0)}, "lower"),
        ({"multiple": 0}, "from 1 to"),
    ],
)
def test_specs_that_do_not_fit(arguments, message):
    with pytest.raises(UserError, match=message):
        ImageSpec(**arguments)


def test_a_size_that_is_not_the_networks(tmp_path):
    with pytest.raises(UserError, match="but the network takes 8 pixels"):
        export_model(conv_encoder((8, 8, 1), 4, (8, 8), 16), tmp_path / "net", image=ImageSpec(size=16))


def test_a_deep_unet_gets_pictures_that_it_can_divide(tmp_path):
    network = unet_generator(filters=4, downsamplings=7, norm="instance")
    artifact = export_model(network, tmp_path / "net", "onnx", image=ImageSpec(multiple=128))
    assert artifact.parity["max_difference"] <= 1
