"""Sizes and places where tf2onnx, ONNX Runtime and TensorFlow round in different ways."""

import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers

from kerasgen.export import export_model

from .compare import assert_equal_in


def pictures(height: int, width: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(0).normal(size=(2, height, width, 3)).astype("float32")}


def unknown(x: keras.KerasTensor) -> keras.KerasTensor:
    """A layer that has no direct translation, and changes nothing."""
    return layers.Lambda(lambda t: t)(x)


@pytest.mark.parametrize(
    ("old", "new"),
    [((6, 14), (19, 22)), ((7, 13), (3, 29)), ((8, 8), (16, 4)), ((41, 47), (61, 37)), ((18, 12), (3, 5))],
)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("before", [unknown, layers.ReLU()])
def test_a_resize_reaches_its_size(old, new, interpolation, before, tmp_path):
    """In float32, 14 × (22 / 14) is below 22; and which pixel is the nearest is a matter of rounding for 6 to 19."""
    image = keras.Input((*old, 3), name="image")
    model = keras.Model(image, layers.Resizing(*new, interpolation=interpolation)(before(image)))
    assert_equal_in(["onnx"], model, pictures(*old), tmp_path)


@pytest.mark.parametrize(
    ("padding", "output_padding"),
    [
        ("same", None),
        ("same", 1),
        ("same", 2),
        ("valid", None),
        ("valid", 0),
        ("valid", 1),
        ("valid", (1, 0)),
        ("valid", 2),
    ],
)
def test_a_transposed_convolution_reaches_beyond_its_kernels(padding, output_padding, tmp_path):
    image = keras.Input((5, 7, 3), name="image")
    enlarged = layers.Conv2DTranspose(2, 4, 3, padding, output_padding, bias_initializer="ones")
    model = keras.Model(image, enlarged(unknown(image)))
    assert_equal_in(["onnx"], model, pictures(5, 7), tmp_path)


def test_a_slice_of_a_size_that_is_open_holds_in_16_bits(tmp_path):
    """Its end is compared with a billion, of which float16 makes infinity, and the slice is empty."""
    image = keras.Input((None, None, 3), name="image")

    class Twice(layers.Layer):
        def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
            larger = keras.ops.repeat(keras.ops.average_pool(x, 2, 2, padding="same"), 2, axis=1)
            return larger[:, : keras.ops.shape(x)[1]]

        def compute_output_shape(self, shape: tuple) -> tuple:
            return (*shape[:2], shape[2] and (shape[2] + 1) // 2, shape[3])

    model = keras.Model(image, layers.Conv2D(2, 1)(Twice()(image)))
    given = pictures(7, 10)
    path = export_model(model, tmp_path / "sliced", "onnx", "float16", inputs=given).path
    found = onnxruntime.InferenceSession(path).run(None, {"image": given["image"][:, :5]})[0]
    np.testing.assert_allclose(found, model(given["image"][:, :5]), atol=2e-2)


@pytest.mark.parametrize(
    "function",
    [keras.ops.celu, keras.ops.expm1, lambda x: keras.ops.log1p(keras.ops.abs(x)), keras.ops.erf,
     lambda x: keras.ops.logaddexp(x, 2 * x)],
)  # fmt: skip
def test_what_onnx_has_no_operator_for_is_made_of_others(function, tmp_path):
    image = keras.Input((4, 5, 3), name="image")
    small = layers.Rescaling(1e-3)(image)
    model = keras.Model(image, [function(unknown(image)), function(unknown(small))])
    assert_equal_in(["onnx"], model, pictures(4, 5), tmp_path)
