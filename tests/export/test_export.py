"""Every format in its own runtime, in a fresh process, against Keras."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasgen.errors import UserError
from kerasgen.export import GateError, available_formats, benchmark, export_model, verify
from kerasgen.layers import Sampling
from kerasgen.networks import conv_decoder, conv_encoder

FORMATS = tuple(available_formats())


def classifier() -> keras.Model:
    """A plain Keras network that kerasgen knows nothing of, with one name for its input and output."""
    image = keras.Input((8, 8, 1), name="photo")
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    return keras.Model(image, {"photo": layers.Conv2D(1, 1)(layers.UpSampling2D()(x))})


def subclassed() -> keras.Model:
    class TwoTowers(keras.Model):
        def __init__(self):
            super().__init__()
            self.left, self.right = layers.Dense(3), layers.Dense(3)

        def call(self, inputs):
            return self.left(inputs["a"]) * self.right(inputs["b"])

    return TwoTowers()


@pytest.fixture(scope="module")
def decoder() -> keras.Model:
    return conv_decoder(4, (8, 8, 1), (8, 8), 16, label_size=10)


def latents(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "z": rng.standard_normal((n, 4)).astype("float32"),
        "label": np.eye(10, dtype="float32")[rng.integers(0, 10, n)],
    }


@pytest.mark.parametrize("format", FORMATS)
def test_a_decoder_with_two_inputs(decoder, format, tmp_path):
    artifact = export_model(decoder, tmp_path / "digits", format=format, inputs=latents(3))
    assert artifact.parity["max_difference"] <= 1e-4
    signature = artifact.signatures["serving_default"]
    assert set(signature["inputs"]) == {"z", "label"}
    assert set(signature["outputs"]) == {"image"}
    manifest = json.loads(artifact.manifest.read_text())
    assert manifest["sha256"] == artifact.sha256
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([artifact.path.name, artifact.manifest.name])
    # Another batch size than the one that it was exported with.
    report = verify(artifact.path, decoder, latents(7))
    assert report.passed, report.checks
    assert report.max_difference <= 1e-4


@pytest.mark.parametrize("format", FORMATS)
def test_an_encoder_with_two_outputs(format, tmp_path, digits):
    encoder = conv_encoder((8, 8, 1), 4, (8, 8), 16)
    artifact = export_model(encoder, tmp_path / "encoder", format=format, inputs={"image": digits["image"][:5]})
    assert set(artifact.signatures["serving_default"]["outputs"]) == {"z_mean", "z_log_var"}


@pytest.mark.parametrize("format", FORMATS)
def test_any_keras_network(format, tmp_path, digits):
    artifact = export_model(classifier(), tmp_path / "any", format=format, inputs=digits["image"][:5])
    # The output's name would hide the input's.
    assert set(artifact.signatures["serving_default"]["outputs"]) == {"generated_photo"}


@pytest.mark.parametrize("format", FORMATS)
def test_a_subclassed_network(format, tmp_path):
    model, rng = subclassed(), np.random.default_rng(0)
    inputs = {name: rng.standard_normal((4, 5)).astype("float32") for name in ("a", "b")}
    model(inputs)
    assert export_model(model, tmp_path / "towers", format=format, inputs=inputs).parity["max_difference"] < 1e-4


def test_a_saved_model_holds_its_weights_once(tmp_path):
    model = keras.Sequential([keras.Input((300,)), layers.Dense(1000), layers.Dense(1000)])
    raw = sum(w.numpy().nbytes for w in model.weights)
    artifact = export_model(model, tmp_path / "big", format="saved_model")
    assert raw <= artifact.bytes <= 1.1 * raw
    # TensorFlow 2 loads it too.
    serve = tf.saved_model.load(str(artifact.path)).signatures["serving_default"]
    x = np.random.default_rng(0).standard_normal((2, 300)).astype("float32")
    name = next(iter(artifact.signatures["serving_default"]["inputs"]))
    np.testing.assert_allclose(next(iter(serve(**{name: tf.constant(x)}).values())), model(x), atol=1e-4)


@pytest.mark.parametrize("format", FORMATS)
def test_an_untrained_network_with_equal_biases(format, tmp_path):
    # The formats store equal constants once, which makes the file smaller than the weights are.
    image = x = keras.Input((8, 8, 3), name="image")
    for filters in (4096, 1, 4096, 1, 4096, 1):
        x = layers.Conv2D(filters, 1)(x)
    model = keras.Model(image, x)
    assert export_model(model, tmp_path / "wide", format=format).parity["max_difference"] < 1e-4


def test_a_weightless_file_does_not_pass(decoder, tmp_path, monkeypatch):
    """The converter's silent failure, made on purpose: same signature, other weights."""
    from kerasgen.export.contract.signature import model_signature
    from kerasgen.export.formats import tflite

    other = conv_decoder(4, (8, 8, 1), (8, 8), 16, label_size=10)
    real = tflite.export

    def wrong(request, path):
        real(replace(request, signatures={"serving_default": model_signature(other)}), path)

    export_model(decoder, tmp_path / "digits", format="tflite")
    before = (tmp_path / "digits.tflite").read_bytes()
    monkeypatch.setattr(tflite, "export", wrong)
    with pytest.raises(GateError, match="parity: differs from Keras by"):
        export_model(decoder, tmp_path / "digits", format="tflite")
    # The artifact of before is as it was, and nothing else is left.
    assert (tmp_path / "digits.tflite").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_changed_artifact_is_refused(decoder, tmp_path):
    artifact = export_model(decoder, tmp_path / "digits", format="onnx")
    artifact.path.write_bytes(artifact.path.read_bytes() + b" ")
    with pytest.raises(UserError, match="not the artifact"):
        verify(artifact.path, decoder)


def test_verify_finds_another_models_artifact(decoder, tmp_path):
    other = conv_decoder(4, (8, 8, 1), (8, 8), 16, label_size=10)
    artifact = export_model(decoder, tmp_path / "digits", format="onnx")
    report = verify(artifact.path, other)
    assert not report.passed
    assert [check.name for check in report.checks if not check.passed] == ["parity"]


@pytest.mark.slow
def test_benchmark_measures_side_by_side(decoder, tmp_path):
    paths = [export_model(decoder, tmp_path / "digits", format=format).path for format in FORMATS]
    rows = benchmark(paths, decoder, latents(3))
    assert [row.format for row in rows] == list(FORMATS)
    for row in rows:
        assert row.median_ms > 0
        assert row.max_difference <= 1e-4
        assert row.bytes > 0


def test_a_graph_that_draws_random_numbers_is_refused(tmp_path):
    mean = keras.Input((4,), name="mean")
    model = keras.Model(mean, Sampling(seed=0)([mean, mean]))
    for format in ("tflite", "onnx"):
        with pytest.raises(UserError, match="draws random numbers"):
            export_model(model, tmp_path / "sampling", format=format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, path: export_model(m, path, format="pb"), "no export format 'pb'.*onnx"),
        (lambda m, path: export_model(m, path, variant="int3"), "no variant 'int3'"),
        (lambda m, path: export_model("model", path), "needs a keras.Model"),
        (lambda m, path: export_model(keras.Sequential([layers.Dense(2)]), path), "not built"),
        (lambda m, path: export_model(m, path, inputs={"z": np.zeros((1, 4))}), "needs z, label|needs label, z"),
        (lambda m, path: export_model(m, path, inputs={**latents(2), "z": np.zeros((2, 5))}), "has the shape"),
        (lambda m, path: verify(path, m), "doesn't exist"),
    ],
)
def test_mistakes_get_a_sentence(decoder, tmp_path, call, message):
    with pytest.raises(UserError, match=message):
        call(decoder, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_an_unwritable_folder_gets_a_sentence(decoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        export_model(decoder, tmp_path / "file" / "x", format="onnx")


@pytest.mark.slow
def test_free_sizes_stay_free_or_are_those_of_the_inputs(tmp_path):
    image = keras.Input((None, None, 3), name="photo")
    model = keras.Model(image, layers.Conv2D(3, 3, padding="same", name="result")(image))
    photos = np.random.default_rng(0).random((2, 12, 16, 3)).astype("float32")
    artifact = export_model(model, tmp_path / "net", format="tflite", inputs=photos)
    assert artifact.signatures["serving_default"]["inputs"]["photo"]["shape"] == [1, 12, 16, 3]
    for format in ("onnx", "saved_model"):
        path = export_model(model, tmp_path / "net", format=format, inputs=photos).path
        assert verify(path, model, photos[:, :8, :8]).passed  # another size


def test_ctrl_c_leaves_nothing(decoder, tmp_path, monkeypatch):
    from kerasgen.export.formats import onnx

    def interrupted(request, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx, "export", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_model(decoder, tmp_path / "digits", format="onnx")
    assert not list(tmp_path.iterdir())
