"""Networks that people really tried to export and that went wrong: each has its right answer."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasgen.errors import UserError
from kerasgen.export import export_model
from kerasgen.export.gate.process import FreshProcess

from .compare import FORMATS, assert_equal_in
from .networks import example, randomize


def body(filters: int = 8, activation: str | None = "relu"):
    image = keras.Input((32, 32, 3), name="image")
    return image, layers.Conv2D(filters, 3, padding="same", activation=activation)(image)


def gain():
    image, x = body()
    x = layers.Conv2D(3, 3, padding="same", activation="tanh")(x)
    return keras.Model(image, x * 1.03 + 0.01)


def half():
    image, x = body()
    x = layers.Conv2D(3, 3, padding="same", activation="tanh")(x)
    return keras.Model(image, [x * 0.5 + 0.5, 1 - x, image + 0.1 * x])


def reshape():
    image, x = body()
    strength = keras.Input((), name="strength")
    return keras.Model([image, strength], layers.Conv2D(3, 1)(x * ops.reshape(strength, (-1, 1, 1, 1))))


def normalization():
    image = keras.Input((32, 32, 3), name="image")
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).normal(0.3, 0.4, (8, 32, 32, 3)).astype("float32"))
    given = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.05, 0.06])
    return keras.Model(image, layers.Conv2D(3, 3, padding="same")(given(image) + adapted(image)))


class Blur(layers.Layer):
    """A layer that holds a constant which is neither a weight nor an input."""

    def __init__(self, **options):
        super().__init__(**options)
        self.kernel = ops.ones((3, 3, 3, 1)) / 9.0

    def call(self, inputs):
        return ops.depthwise_conv(inputs, self.kernel, padding="same")


def blur():
    image, x = body(3)
    return keras.Model(image, layers.Conv2D(3, 3, padding="same")(Blur()(x)))


def clip():
    image, x = body()
    return keras.Model(image, ops.clip(layers.Conv2D(4, 3)(x) + 0.5, 0.0, 1.0))


def prelu_after_padding():
    image, x = body()
    x = layers.PReLU(alpha_initializer="glorot_uniform")(layers.ZeroPadding2D(2)(x))
    return keras.Model(image, layers.Conv2D(3, 3)(x))


def gelu():
    image, x = body(activation="gelu")
    x = layers.Lambda(lambda t: t * 0.9)(layers.Resizing(48, 48)(x))  # sends the network through tf2onnx
    return keras.Model(image, layers.Conv2D(3, 3, padding="same", activation="gelu")(x))


def mixed(make):
    """Return a network that `make` makes under a policy of mixed precision."""

    def made():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            return make()
        finally:
            keras.config.set_dtype_policy(before)

    return made


def residual():
    image, x = body()
    y = layers.Conv2D(8, 3, padding="same")(x)
    return keras.Model(image, layers.Conv2D(3, 1, dtype="float32")(x + y * 2.0))


def in_process_lambda():
    image, x = body()
    factor = 0.7
    return keras.Model(image, layers.Conv2D(3, 1)(layers.Lambda(lambda t: t * factor)(x)))


def antialias():
    image, x = body()
    x = layers.Resizing(20, 12, antialias=True)(x) + layers.Resizing(20, 12, interpolation="lanczos3")(x)
    return keras.Model(image, layers.Conv2D(3, 1)(ops.image.resize(x, (9, 30), interpolation="bicubic")))


CASES = {
    "gain": gain,
    "half": half,
    "reshape": reshape,
    "normalization": normalization,
    "blur": blur,
    "clip": clip,
    "prelu_after_padding": prelu_after_padding,
    "gelu": gelu,
    "mixed_residual": mixed(residual),
    "mixed_lambda": mixed(in_process_lambda),
    "antialias": antialias,
}


def network(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = CASES[name]()
    randomize(model, np.random.default_rng(0))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_case_equals_keras_in_every_format(name, tmp_path):
    model = network(name)
    assert_equal_in(FORMATS, model, example(model, 2), tmp_path)


@pytest.mark.slow
def test_an_8_bit_variant_keeps_the_gain(tmp_path):
    """It was once published without it: 33 dB are not enough to see 3%."""
    model = network("gain")
    photos = np.random.default_rng(0).uniform(-1, 1, (16, 32, 32, 3)).astype("float32")
    artifact = export_model(model, tmp_path / "gain", "onnx", "dynamic_int8", inputs=photos)
    with FreshProcess("onnx", artifact.path) as process:
        (found,) = process.run("serving_default", {"image": photos}).values()
    expected = model(photos).numpy()
    slope = float((found * expected).sum() / (expected * expected).sum())
    assert abs(slope - 1) < 0.005
    assert abs(float((found - expected).mean())) < 0.003


def test_a_filter_of_open_size_is_named(tmp_path):
    image = keras.Input((None, None, 3), name="image")
    model = keras.Model(image, layers.Resizing(20, 12, antialias=True, name="smaller")(image))
    with pytest.raises(UserError, match=r"ScaleAndTranslate in 'smaller.*ONNX has no"):
        export_model(model, tmp_path / "net", "onnx")
