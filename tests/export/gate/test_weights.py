"""The check of the weights: the traps that it was made for, and honest files that it must pass."""

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from keras import layers

from kerasgen.export import export_model
from kerasgen.export.contract.inputs import network_and_inputs
from kerasgen.export.formats.registry import find_format, signatures_of
from kerasgen.export.gate.gate import Inspected, _check_weights


def network() -> keras.Model:
    """More bytes in norms than in kernels, each kernel before a norm that converters fold into it."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3), name="image")
    for filters in (256, 256):
        x = layers.SeparableConv2D(filters, 3, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    model = keras.Model(image, layers.Conv2D(64, 1)(x), name="net")
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "normalization" in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def check(format: str, path: Path, model: keras.Model):
    """What the gate says of the weights of a file that came from somewhere."""
    module = find_format(format)
    form = module.FORMAT
    signature, _ = network_and_inputs(model, None, None, form)
    signatures = signatures_of(form, signature, None, {}, "nhwc")
    artifact = Inspected(format, form, form.variant("float32"), path, signatures, {}, {})
    return _check_weights(artifact, module.contents(str(path)).weight_bytes, partly=False)


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_folded_norms_are_honest(format, tmp_path):
    model = network()
    artifact = export_model(model, tmp_path / "net", format)
    assert check(format, artifact.path, model).passed


def test_a_kernel_of_one_number_is_honest(tmp_path):
    image = keras.Input((8, 8, 64), name="image")
    x = layers.Conv2D(64, 3, kernel_initializer="zeros")(image)
    export_model(keras.Model(image, layers.Conv2D(8, 1)(x)), tmp_path / "net", "tflite")


def test_a_saved_model_that_holds_its_weights_twice_is_refused(tmp_path):
    """As Keras' own `export` writes it."""
    model = keras.Sequential([keras.Input((300,)), layers.Dense(1000), layers.Dense(1000)])
    model.export(tmp_path / "net.saved_model", verbose=False)
    found = check("saved_model", tmp_path / "net.saved_model", model)
    assert not found.passed, found


def test_an_onnx_file_without_its_kernels_is_refused(tmp_path):
    model = network()
    artifact = export_model(model, tmp_path / "net", "onnx")
    graph = onnx.load(artifact.path)
    kept = [tensor for tensor in graph.graph.initializer if len(tensor.dims) < 2]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    onnx.save(graph, artifact.path)
    found = check("onnx", artifact.path, model)
    assert not found.passed, found


def test_a_tflite_file_without_its_kernels_is_refused(tmp_path):
    """As the converter silently makes one: the variables are there, their values are not."""
    model = network()
    function = tf.function(lambda image: model(image, training=False), autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec((1, 16, 16, 3), tf.float32, name="image"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    found = check("tflite", tmp_path / "net.tflite", model)
    assert not found.passed, found
