"""Ordinary networks that people bring, and what made their artifacts wrong or refused, against Keras itself."""

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers as k
from keras import ops

from kerasgen.errors import UserError
from kerasgen.export import GateError, ImageSpec, available_formats, export_model, verify
from kerasgen.layers import Sampling
from kerasgen.models.averages import averaged_copy
from kerasgen.models.translation import translate_images

FORMATS = ("saved_model", "tflite", "onnx")
RANDOM = np.random.default_rng(0)


def onnx_session(path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def in_mixed_precision(network: type[keras.Model] = keras.Model) -> keras.Model:
    """A network in bfloat16 that learned the mean and the variance of its inputs."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        scaled = k.Normalization()
        scaled.adapt(RANDOM.normal(120, 40, (64, 8, 8, 3)).astype("float32"))
        image = keras.Input((8, 8, 3), name="image")
        x = k.Conv2D(8, 3, padding="same", activation="relu")(scaled(image))
        return network(image, k.Conv2D(3, 1, dtype="float32")(x))
    finally:
        keras.config.set_dtype_policy("float32")


class Forgetful(keras.layers.Layer):
    """Holds more than its weights say."""

    shift = 0.0

    def call(self, x):
        return x + self.shift


@pytest.mark.parametrize("format", FORMATS)
def test_a_learned_normalization_survives_mixed_precision(format, tmp_path):
    model, x = in_mixed_precision(), RANDOM.normal(120, 40, (4, 8, 8, 3)).astype("float32")
    artifact = export_model(model, tmp_path / "artifact", format, inputs=x)
    report = verify(artifact.path, model, x)
    assert report.passed
    expected = model(x).numpy()
    assert np.abs(report.comparisons[0].artifact - expected).max() < 0.05 * np.ptp(expected)


def test_what_no_copy_of_weights_brings_along_is_refused(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        image = keras.Input((8, 8, 3))
        forgetful = Forgetful()
        model = keras.Model(image, k.Conv2D(3, 3, dtype="float32")(forgetful(k.Conv2D(4, 3)(image))))
    finally:
        keras.config.set_dtype_policy("float32")
    forgetful.shift = 50.0
    with pytest.raises(UserError, match="in float32 gives another 'output' than in bfloat16"):
        export_model(model, tmp_path / "artifact", "onnx")


def test_an_averaged_copy_normalizes_as_its_network_does():
    scaled = k.Normalization()
    scaled.adapt(RANDOM.normal(120, 40, (64, 8, 8, 3)).astype("float32"))
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, k.Conv2D(3, 1)(scaled(image)))
    x = RANDOM.normal(120, 40, (2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(averaged_copy(network)(x), network(x))


def test_a_picture_whose_output_is_smaller_is_cut_to_what_belongs_to_it(tmp_path):
    image = keras.Input((None, None, 3), name="image")
    half = k.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    full = k.Conv2D(3, 3, padding="same", name="full")(k.UpSampling2D()(half))
    model = keras.Model(image, {"full": full, "half": k.Conv2D(3, 3, padding="same")(half)})
    spec = ImageSpec(value_range=(0, 1), multiple=2)
    artifact = export_model(model, tmp_path / "artifact", "saved_model", image=spec)
    served = tf.saved_model.load(str(artifact.path)).signatures["float"]
    whole = RANDOM.random((1, 12, 16, 3), np.float32)
    for name, expected in model(whole).items():
        np.testing.assert_allclose(served(image=tf.constant(whole))[name], expected, atol=1e-5)
    odd = served(image=tf.constant(whole[:, :11, :15]))
    assert odd["full"].shape == (1, 11, 15, 3)
    assert odd["half"].shape == (1, 6, 8, 3)
    mirrored = np.pad(whole[:, :11, :15], [(0, 0), (0, 1), (0, 1), (0, 0)], "symmetric")
    np.testing.assert_allclose(odd["half"], model(mirrored)["half"], atol=1e-5)


def test_latents_are_not_mirrored(tmp_path):
    latents = keras.Input((None, None, 4), name="z")
    model = keras.Model(latents, k.Conv2DTranspose(3, 4, strides=4, padding="same", name="picture")(latents))
    spec = ImageSpec(value_range=(0, 1), multiple=4, pictures=("picture",))
    artifact = export_model(model, tmp_path / "artifact", "saved_model", image=spec)
    served = tf.saved_model.load(str(artifact.path)).signatures["float"]
    z = RANDOM.normal(size=(1, 6, 6, 4)).astype("float32")
    np.testing.assert_allclose(served(z=tf.constant(z))["picture"], model(z), atol=1e-5)


def test_inputs_of_open_sizes_need_not_be_of_one(tmp_path):
    asked, known = keras.Input((None, 8), name="asked"), keras.Input((None, 8), name="known")
    model = keras.Model([asked, known], k.MultiHeadAttention(2, 4)(asked, known) + asked)
    artifact = export_model(model, tmp_path / "artifact", "onnx")
    for lengths in ((5, 9), (9, 5), (64, 64)):
        given = [RANDOM.normal(size=(2, length, 8)).astype("float32") for length in lengths]
        (found,) = onnx_session(artifact.path).run(None, dict(zip(("asked", "known"), given, strict=True)))
        np.testing.assert_allclose(found, model(given), atol=1e-5)


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_a_nested_model_finds_its_inputs_by_name(format, tmp_path):
    a, b = keras.Input((48, 32, 3), name="a"), keras.Input((48, 32, 3), name="b")
    inner = keras.Model([b, a], k.Conv2D(3, 3, padding="same")(b) - 2.0 * k.Conv2D(3, 3, padding="same")(a))
    image = keras.Input((48, 32, 3), name="image")
    for given in ({"a": image, "b": image[:, ::-1]}, {"a": image, "b": image[:, ::-1], "c": image}):
        model = keras.Model(image, inner(given))
        export_model(model, tmp_path / "artifact", format)  # the gate compares it with Keras


def test_strips_find_a_nested_models_inputs_by_name():
    a, b = keras.Input((None, None, 3), name="a"), keras.Input((None, None, 3), name="b")
    inner = keras.Model([b, a], k.Conv2D(3, 3, padding="same")(b) - 2.0 * k.Conv2D(3, 3, padding="same")(a))
    image = keras.Input((None, None, 3))
    smooth = k.Conv2D(3, 1)(image)
    model = keras.Model(image, 0.2 * inner({"a": image, "b": smooth}))
    picture = RANDOM.uniform(-1, 1, (400, 64, 3)).astype("float32")
    whole = translate_images(model, picture)
    np.testing.assert_allclose(translate_images(model, picture, memory=4_000_000), whole, atol=1e-5)
    np.testing.assert_allclose(whole, np.clip(model(picture[None])[0], -1, 1), atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("batch", [1, 4])
def test_a_network_of_a_fixed_batch(format, batch, tmp_path):
    image = keras.Input((8, 8, 3), batch_size=batch, name="image")
    model = keras.Model(image, k.Conv2D(4, 3, padding="same")(image))
    artifact = export_model(model, tmp_path / "artifact", format)
    assert verify(artifact.path, model).passed


@pytest.mark.slow
def test_the_nearest_pixel_of_pictures_of_any_size(tmp_path):
    image = keras.Input((None, None, 1), name="image")
    model = keras.Model(image, k.Resizing(24, 20, interpolation="nearest")(image))
    session = onnx_session(export_model(model, tmp_path / "artifact", "onnx").path)
    for height in range(5, 100):
        picture = RANDOM.random((1, height, height + 1, 1), np.float32)
        np.testing.assert_array_equal(session.run(None, {"image": picture})[0], model(picture), err_msg=str(height))


@pytest.mark.parametrize("format", ["onnx", "tflite"])
@pytest.mark.parametrize(("axis", "keepdims"), [(-1, False), (1, True), (None, False), (None, True)])
@pytest.mark.parametrize("operation", [ops.argmax, ops.argmin])
def test_the_place_of_an_extreme(operation, axis, keepdims, format, tmp_path):
    image = keras.Input((6, 5, 3), batch_size=1 if axis is None else None, name="image")
    model = keras.Model(image, operation(k.Conv2D(4, 3, name="scores")(image), axis=axis, keepdims=keepdims))
    artifact = export_model(model, tmp_path / "artifact", format)
    assert verify(artifact.path, model).passed


class Halved(keras.Model):
    """A functional model whose call says more than its nodes."""

    def call(self, inputs, **options):
        return ops.clip(super().call(inputs, **options) * 0.5, 0, 1)


@pytest.mark.parametrize("format", FORMATS)
def test_a_functional_subclass_with_a_call_of_its_own(format, tmp_path):
    image = keras.Input((8, 8, 3), name="image")
    model = Halved(image, k.Conv2D(4, 3, padding="same")(image))
    artifact = export_model(model, tmp_path / "artifact", format)
    assert verify(artifact.path, model).passed


def test_truth_values_and_scalars_are_compared(tmp_path):
    image = keras.Input((8, 8, 3), name="image")
    made = k.Conv2D(3, 1, name="scores")(image)
    for name, output in (("mask", made > 0), ("mean", ops.mean(made))):
        model = keras.Model(image, output)
        artifact = export_model(model, tmp_path / name, "onnx")
        assert verify(artifact.path, model).passed
    opposite = keras.Model(image, made <= 0)
    with pytest.raises(GateError):
        verify_as(opposite, tmp_path)


def verify_as(model: keras.Model, tmp_path) -> None:
    """Raise `GateError` if the artifact of another mask passes for this one."""
    report = verify(tmp_path / "mask.onnx", model)
    if not report.passed:
        raise GateError(str(report.checks))


def test_a_further_signature_does_not_replace_the_network(tmp_path):
    image = keras.Input((8, 8, 3), name="image")
    model, other = (keras.Model(image, k.Conv2D(3, 1)(image)) for _ in range(2))
    with pytest.raises(UserError, match="of the network itself is called 'serving_default'"):
        export_model(model, tmp_path / "artifact", "saved_model", also={"serving_default": other})


def test_codes_are_not_drawn_from_noise(tmp_path):
    codes = keras.Input((16,), dtype="int32", name="z")
    picture = k.Reshape((8, 8, 3), name="picture")(k.Dense(192)(k.Flatten()(k.Embedding(8, 4)(codes))))
    spec = ImageSpec(value_range=(0, 1), pictures=("picture",))
    artifact = export_model(keras.Model(codes, picture), tmp_path / "artifact", "saved_model", image=spec)
    assert "generate" not in artifact.signatures
    assert set(FORMATS) <= set(available_formats())


@pytest.mark.parametrize("way", ["directly", "by tf2onnx"])
def test_whole_numbers_are_divided_as_python_does(way, tmp_path):
    numbers = keras.Input((7,), dtype="int32", name="numbers")
    outputs = {"floor": numbers // 3, "rest": numbers % 3, "negative": numbers % -3, "over": numbers // -2}
    if way == "by tf2onnx":
        outputs["sorted"] = ops.sort(numbers)
    artifact = export_model(keras.Model(numbers, outputs), tmp_path / "artifact", "onnx")
    x = np.array([[-7, -4, -3, -1, 0, 5, 6]], "int32")
    session = onnx_session(artifact.path)
    found = dict(
        zip((output.name for output in session.get_outputs()), session.run(None, {"numbers": x}), strict=True)
    )
    for name, expected in {"floor": x // 3, "rest": x % 3, "negative": x % -3, "over": x // -2}.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_floats_are_divided_as_keras_does(tmp_path):
    numbers = keras.Input((4,), name="numbers")
    artifact = export_model(
        keras.Model(numbers, {"f": numbers // 0.7, "m": numbers % 0.7}), tmp_path / "artifact", "onnx"
    )
    assert verify(artifact.path, keras.Model(numbers, {"f": numbers // 0.7, "m": numbers % 0.7})).passed


def test_no_class_is_none_of_them(tmp_path):
    codes = keras.Input((5,), dtype="int32", name="codes")
    model = keras.Model(codes, k.Dense(2)(ops.one_hot(codes, 4)))
    session = onnx_session(export_model(model, tmp_path / "artifact", "onnx").path)
    x = np.array([[0, 3, -1, 4, 2]], "int32")
    np.testing.assert_allclose(session.run(None, {"codes": x})[0], model(x), atol=1e-6)


def in_litert(path, **given) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner("serving_default")(**given)


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda v: ops.normalize(v), np.zeros((1, 4), np.float32)),
        (lambda v: k.Dot(1, normalize=True)([v, 2.0 * v]), np.zeros((1, 4), np.float32)),
        (lambda v: k.Dot(1, normalize=True)([v, 2.0 * v + 1.0]), np.float32([[1, -2, 3, 0.5]])),
        (lambda v: ops.softplus(v), np.float32([[160, -160, 0, 90]])),
        (lambda v: ops.log_sigmoid(v), np.float32([[200, -200, 0, -90]])),
        (lambda v: k.Activation("softplus")(v), np.float32([[160, -160, 0, 90]])),
        (lambda v: k.Dense(3, activation="softplus")(v), np.float32([[160, -160, 0, 90]])),
        (lambda v: k.Dense(3, activation=ops.log_sigmoid)(v), np.float32([[500, -300, 0, 90]])),
        (lambda v: k.Conv1D(2, 2, activation="softplus")(v[..., None]), np.float32([[160, -160, 0, 900]])),
    ],
)
def test_far_from_the_usual_numbers_too(make, x, tmp_path):
    vector = keras.Input((4,), name="vector")
    model = keras.Model(vector, make(vector))
    artifact = export_model(model, tmp_path / "artifact", "tflite")
    (found,) = in_litert(artifact.path, vector=x).values()
    np.testing.assert_allclose(found, model(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_weights_that_inference_never_reads_are_not_missed(format, tmp_path):
    dense = k.Dense(256, name="dense")
    vector = keras.Input((256,), name="vector")
    model = keras.Model(vector, dense(vector))
    dense.enable_lora(8)
    dense.lora_kernel_b.assign(RANDOM.normal(0, 0.1, dense.lora_kernel_b.shape))
    export_model(model, tmp_path / "lora", format)

    class WithHead(keras.Model):
        def __init__(self):
            super().__init__()
            self.body, self.head = k.Dense(8), k.Dense(4096)

        def call(self, x, training=False):
            made = self.body(x)
            return self.head(made) if training else made

    with_head = WithHead()
    with_head(np.zeros((1, 16), np.float32), training=True)
    export_model(with_head, tmp_path / "head", format, inputs=RANDOM.random((2, 16), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["dataset", "pairs", "generator", "list", "uneven list"])
def test_calibration_comes_as_data_for_fit_does(form, tmp_path):
    x, y = RANDOM.uniform(-1, 1, (20, 8, 8, 3)).astype("float32"), np.zeros(20)
    given = {
        "dataset": tf.data.Dataset.from_tensor_slices((x, y)).batch(7),
        "pairs": (x, y),
        "generator": ((x[i : i + 5], y[i : i + 5]) for i in range(0, 20, 5)),
        "list": [x[:10], x[10:]],
        "uneven list": [x[:3], x[3:]],
    }[form]
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, k.Conv2D(4, 3, padding="same")(image))
    artifact = export_model(model, tmp_path / "artifact", "tflite", "static_int8", calibration=given)
    assert artifact.parity["examples"] == 16


def test_what_no_artifact_can_be_gets_a_remedy(tmp_path):
    steps = keras.Input((None, 8), name="steps")
    cases = {"give its Input a fixed number of steps": keras.Model(steps, k.TimeDistributed(k.Dense(4))(steps))}
    fixed = keras.Input((6, 8), batch_size=2, name="steps")
    cases["with stateful=False"] = keras.Model(fixed, k.LSTM(4, stateful=True)(fixed))
    words = keras.Input((3,), dtype="string", name="words")
    cases["behind the lookup"] = keras.Model(words, k.StringLookup(vocabulary=["a", "b"])(words))
    number = keras.Input((), dtype="int64", name="number")
    cases["looks its values up in a table"] = keras.Model(number, k.IntegerLookup(vocabulary=[3, 5])(number))
    quantized = keras.Sequential([keras.Input((8,)), k.Dense(4)])
    quantized.layers[-1].quantize("int8")
    cases["from before `quantize`"] = quantized
    for remedy, model in cases.items():
        with pytest.raises(UserError, match=remedy):
            export_model(model, tmp_path / "artifact", "onnx")
    halves = keras.Sequential([keras.Input((8,)), k.Dense(4, dtype="mixed_bfloat16")])
    halves.layers[-1].quantize("int8")
    with pytest.raises(UserError, match="in mixed precision, which can't be brought to float32"):
        export_model(halves, tmp_path / "artifact", "saved_model")
    batch = keras.Input((8, 8, 3), batch_size=4, name="image")
    model = keras.Model(batch, k.Conv2D(4, 3)(batch))
    with pytest.raises(UserError, match="takes 4 at once: make its Input without a batch_size"):
        export_model(model, tmp_path / "a", "onnx", "static_int8", calibration=np.zeros((4, 8, 8, 3), np.float32))


def test_what_answers_otherwise_each_time_is_told_so(tmp_path):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, Sampling(name="drawn")([x, 0.0 * x]))
    with pytest.raises(UserError, match="gives another 'drawn' each time, as what draws random numbers does"):
        export_model(model, tmp_path / "artifact", "saved_model")
    assert not list(tmp_path.glob("artifact*"))


def test_what_mixes_the_examples_of_a_batch_is_told_so_where_one_is_taken_at_a_time(tmp_path):
    x = keras.Input((8, 8, 3))
    convolved = k.Conv2D(3, 3, name="convolved")(x)
    model = keras.Model(x, k.Subtract(name="centered")([convolved, keras.ops.mean(convolved, axis=0, keepdims=True)]))
    export_model(model, tmp_path / "artifact", "onnx")
    with pytest.raises(UserError, match=r"it mixes the examples of a batch, but TFLite takes one at a time"):
        export_model(model, tmp_path / "artifact", "tflite")
    assert not list(tmp_path.glob("artifact*.tflite"))


def test_lora_keeps_its_scale_in_float32(tmp_path):
    x = keras.Input((16,), name="x")
    dense = k.Dense(16, dtype="mixed_bfloat16")
    model = keras.Model(x, k.Activation("linear", dtype="float32", name="y")(dense(x)))
    dense.enable_lora(2, lora_alpha=8)
    factors = np.random.default_rng(0).normal(0, 0.1, (2, 16)).astype("float32")
    dense.lora_kernel_b.assign(factors)
    path = export_model(model, tmp_path / "artifact", "onnx").path
    given = np.random.default_rng(1).normal(size=(4, 16)).astype("float32")
    (found,) = onnxruntime.InferenceSession(path).run(None, {"x": given})
    kernel, one = (np.asarray(w).astype("float64") for w in (dense._kernel, dense.lora_kernel_a))
    np.testing.assert_allclose(found, given @ (kernel + 8 / 2 * one @ factors) + np.asarray(dense.bias), atol=1e-4)


class Fade(k.Layer):
    """A layer whose strength changes after it was made."""

    strength = 1.0

    def call(self, x):
        return x * self.strength


@pytest.mark.parametrize("dtype", ["float64", "mixed_float16", "mixed_bfloat16"])
def test_what_float32_would_lose_is_refused(dtype, tmp_path):
    image, fade = keras.Input((8, 8, 3)), Fade(dtype=dtype)
    model = keras.Model(image, k.Activation("linear", dtype="float32")(fade(k.Conv2D(4, 3)(image))))
    export_model(model, tmp_path / "whole", "onnx")
    fade.strength = 1.05
    with pytest.raises(UserError, match="a layer holds more than its weights and its get_config say"):
        export_model(model, tmp_path / "artifact", "onnx")
    assert not list(tmp_path.glob("artifact*"))


@pytest.mark.parametrize("format", FORMATS)
def test_what_keras_gives_must_be_finite(format, tmp_path):
    x = keras.Input((4,))
    model = keras.Model(x, k.Dense(3)(x))
    model.layers[-1].bias.assign([np.inf, 0, 0])
    with pytest.raises(UserError, match="NaN or infinity"):
        export_model(model, tmp_path / "artifact", format)
    assert not list(tmp_path.glob("artifact*"))


class Count(k.Layer):
    """A layer that counts its calls."""

    def build(self, input_shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x):
        self.calls.assign_add(1.0)
        return x + self.calls * 0.001


@pytest.mark.parametrize("format", FORMATS)
def test_what_changes_when_it_is_asked_is_refused(format, tmp_path):
    x = keras.Input((4,))
    with pytest.raises(UserError, match="gives another 'output' each time"):
        export_model(keras.Model(x, Count()(x)), tmp_path / "artifact", format)


def test_outputs_without_an_axis_of_examples(tmp_path):
    x = keras.Input((6,))
    constant = Constant()(x)
    model = keras.Model(x, [k.Dense(2, name="made")(x), constant])
    assert export_model(model, tmp_path / "constant", "tflite").parity["max_difference"] < 1e-4
    likeness = keras.ops.psnr(x, x * 0.9, 1.0)
    with pytest.raises(UserError, match="it mixes the examples of a batch"):
        export_model(keras.Model(x, likeness), tmp_path / "psnr", "tflite")


class Constant(k.Layer):
    """A layer that gives its own three numbers, whatever it is given."""

    def build(self, input_shape):
        self.numbers = self.add_weight(shape=(3,), initializer="random_normal", name="numbers")

    def call(self, x):
        return self.numbers * 1.0


@pytest.mark.parametrize("format", FORMATS)
def test_float64_is_exported_in_float32_under_the_same_names(format, tmp_path):
    keras.config.set_dtype_policy("float64")
    try:
        image = keras.Input((8, 8, 3))
        model = keras.Model(image, k.BatchNormalization()(k.Conv2D(3, 3, activation="relu")(image) * 0.5 + 1.0))
    finally:
        keras.config.set_dtype_policy("float32")
    (given,) = export_model(model, tmp_path / "artifact", format).signatures["serving_default"]["inputs"].items()
    assert given[0] == "input"
    assert given[1]["dtype"] == "float32"


def test_the_name_of_an_input_is_none_that_counts_tensors(tmp_path):
    image = keras.Input((8, 8, 3), dtype="float16")
    model = keras.Model(image, k.Conv2D(3, 1, dtype="mixed_float16")(image))
    artifact = export_model(model, tmp_path / "artifact", "onnx")
    assert list(artifact.signatures["serving_default"]["inputs"]) == ["input"]


@pytest.mark.parametrize("format", FORMATS)
def test_inputs_may_differ_in_case_alone(format, tmp_path):
    large, small = keras.Input((4,), name="A"), keras.Input((4,), name="a")
    model = keras.Model([large, small], large - 2.0 * small)
    x = [RANDOM.normal(size=(3, 4)).astype("float32") for _ in range(2)]
    artifact = export_model(model, tmp_path / "artifact", format, inputs=x)
    assert sorted(artifact.signatures["serving_default"]["inputs"]) == ["A", "a_1"]


def test_an_extreme_of_truth_values(tmp_path, caplog):
    x = keras.Input((4, 5), name="x")
    model = keras.Model(x, [ops.max(x > 2.0, axis=(1, 2)), ops.min(x > -1.0, axis=1)])
    given = RANDOM.normal(size=(8, 4, 5)).astype("float32")
    session = onnx_session(export_model(model, tmp_path / "artifact", "onnx", inputs=given).path)
    assert "tf2onnx" not in caplog.text
    for found, expected in zip(session.run(None, {"x": given}), model(given), strict=True):
        assert found.dtype == bool
        assert 0 < found.mean() < 1
        np.testing.assert_array_equal(found, expected)


def test_weights_that_a_variant_leaves_as_they_are_are_told_of(tmp_path):
    words = keras.Input((12,), dtype="int32", name="words")
    model = keras.Model(words, k.Dense(3)(k.GlobalAveragePooling1D()(k.Embedding(5000, 64)(words))))
    with pytest.raises(GateError, match="most weights are others', such as an Embedding's"):
        export_model(model, tmp_path / "artifact", "onnx", "dynamic_int8")
    assert export_model(model, tmp_path / "artifact", "onnx", "float16").bytes < 0.6 * 4 * model.count_params()


@pytest.mark.parametrize("equation", ["abc,cd->abd", "...c,cd->...d"])
def test_a_product_that_is_written_as_an_equation_is_rounded_as_one(equation, tmp_path):
    steps = keras.Input((12, 64), name="steps")
    shape = (None, 96) if equation[0] == "a" else (96,)
    model = keras.Model(steps, k.EinsumDense(equation, shape, bias_axes="d")(steps))
    given = RANDOM.normal(size=(5, 12, 64)).astype("float32")
    (found,) = onnx_session(export_model(model, tmp_path / "a", "onnx", inputs=given).path).run(
        None, {"steps": given}
    )
    np.testing.assert_allclose(found, model(given), atol=1e-4)
    rounded = export_model(model, tmp_path / "a", "onnx", "dynamic_int8", inputs=given)
    assert rounded.bytes < 0.8 * 4 * model.count_params()
