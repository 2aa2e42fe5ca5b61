"""What a format can't do is one sentence that names the layer and the operation, and the way out."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasgen.errors import UserError
from kerasgen.export import GateError, ImageSpec, available_formats, benchmark, export_model, verify
from kerasgen.networks import unet_generator


def through(*steps, shape=(16, 16, 3)) -> keras.Model:
    x = image = keras.Input(shape, name="image")
    for step in steps:
        x = step(x)
    return keras.Model(image, x, name="net")


SAID = r"ImageProjectiveTransformV3 in 'warp|the layer 'warp' needs the operation ImageProjectiveTransformV3"
WARP = np.array([[1, 0, 2, 0, 1, 1, 0, 0]], "float32")


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_an_operation_that_a_format_lacks_is_named_with_its_layer(format, tmp_path):
    warp = layers.Lambda(lambda x: ops.image.affine_transform(x, WARP), name="warp")
    model = through(layers.Conv2D(3, 3, name="first"), warp)
    with pytest.raises(UserError, match=SAID) as refused:
        export_model(model, tmp_path / "net", format)
    assert len(str(refused.value)) <= 400
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_an_operation_of_keras_ops_is_named(tmp_path):
    model = through(lambda x: ops.image.affine_transform(x, WARP))
    with pytest.raises(
        UserError, match=r"'net'.* needs the operation ImageProjectiveTransformV3, which TFLite lacks"
    ):
        export_model(model, tmp_path / "net", "tflite")


_CHANNELS_FIRST = """
import sys
import keras
from keras import layers
from kerasgen.export import export_model

image = keras.Input((3, 16, 16), name="image")
first = layers.Conv2D(3, 3, data_format="channels_first", name="first")
try:
    print(export_model(keras.Model(image, first(image), name="net"), sys.argv[1]).path.name)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_channels_first_network_is_refused_in_a_sentence(tmp_path):
    """Where TensorFlow computes without oneDNN, which has kernels for it."""
    command = [sys.executable, "-c", _CHANNELS_FIRST, str(tmp_path / "net")]
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch(r"UserError .*the layer 'first' \(Conv2D\).*channels_last.*", said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", available_formats())
def test_a_graph_that_tensorflow_computes_wrongly_is_not_published(format, tmp_path):
    """With oneDNN, as on a CPU with AVX-512, a graph makes a leaky ReLU of this, which it isn't."""
    model = through(lambda x: ops.maximum(x, 1.5 * x))
    image = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype("float32")
    np.testing.assert_array_equal(model(image), np.maximum(image, np.float32(1.5) * image))
    said = ""
    try:
        path = export_model(model, tmp_path / "net", format).path
    except GateError as refused:
        said = str(refused)
    if not said:
        assert verify(path, model, image).passed
        return
    assert format == "saved_model"
    assert "differs from Keras by" in said
    assert not list(tmp_path.iterdir())


def test_bilinear_upsampling_at_open_sizes_names_the_layer_and_the_size(tmp_path):
    grow = layers.UpSampling2D(2, interpolation="bilinear", name="grow")
    model = through(layers.Conv2D(3, 3, padding="same"), grow, shape=(None, None, 3))
    with pytest.raises(UserError, match=r"the layer 'grow' \(UpSampling2D\).*--size"):
        export_model(model, tmp_path / "net")
    artifact = export_model(model, tmp_path / "net", image=ImageSpec(size=24))  # the way out
    assert verify(artifact.path, model).passed


def test_inputs_that_the_network_itself_cannot_take(tmp_path):
    network = unet_generator(filters=4, downsamplings=2)
    path = export_model(network, tmp_path / "net", "onnx", inputs=np.zeros((1, 16, 16, 3), "float32")).path
    odd = np.zeros((2, 17, 16, 3), "float32")
    said = r"can't take these inputs, image \[2, 17, 16, 3\]: the layer 'skip1' \(Concatenate\) says .* give others"
    for asked in (lambda: verify(path, network, odd), lambda: benchmark([path], network, odd)):
        with pytest.raises(UserError, match=said):
            asked()


_CRASH = """
import sys
import keras
from keras import layers
from kerasgen.export import export_model

image = keras.Input((16, 16, 3), name="image")
x = layers.ZeroPadding2D(((0, 1), (1, 0)))(image)
x = layers.Add()([x, layers.Conv2D(3, 1)(x)])
squeezed = layers.Conv2D(3, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
x = layers.Activation("softmax")(layers.Multiply()([x, squeezed]))
model = keras.Model(image, layers.Conv2D(3, 1)(layers.LayerNormalization()(x)), name="crash")
try:
    print(export_model(model, sys.argv[1]).path.name)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_crash_of_tensorflow_itself_is_said_to_be_one(tmp_path):
    """Where this TensorFlow doesn't crash with oneDNN, the artifact is published."""
    command = [sys.executable, "-c", _CRASH, str(tmp_path / "net")]
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    crashed = said.startswith(GateError.__name__) and "it crashed (signal SIG" in said
    assert said == "net.saved_model" or (crashed and "TF_ENABLE_ONEDNN_OPTS=0" in said)
    environment["TF_ENABLE_ONEDNN_OPTS"] = "0"
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert said == "net.saved_model"
