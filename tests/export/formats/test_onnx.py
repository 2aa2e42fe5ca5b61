"""The direct ONNX emitter, each layer against Keras in ONNX Runtime, at more than one batch and size."""

from collections import Counter

import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers

from kerasgen.errors import UserError
from kerasgen.export import export_model
from kerasgen.export.contract.signature import model_signature
from kerasgen.export.formats.onnx.activations import FUNCTIONS
from kerasgen.export.formats.onnx.graph import Unsupported
from kerasgen.export.formats.onnx.handlers import LAYERS as HANDLERS
from kerasgen.export.formats.onnx.traversal import emit
from kerasgen.layers import (
    Cropping2D,
    GroupNormalization,
    InstanceNormalization,
    ReflectionPadding2D,
    Sampling,
    SyncBatchNormalization,
)
from kerasgen.networks import conv_decoder, conv_encoder, resnet_generator, unet_generator


def run(model, batch):
    content = emit(model_signature(model)).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})


def randomized(model):
    """Weights with no zero or one among them, so that a forgotten bias or statistic shows."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.uniform(0.3, 0.8, weight.shape) * random.choice([-1, 1], weight.shape))
        if "variance" in weight.name:
            weight.assign(np.abs(weight.numpy()))
    return model


def one(layer, channels=4, size=None):
    image = keras.Input((size, size, channels), name="picture")
    return randomized(keras.Model(image, layer(image)))


LAYERS = {
    "conv_same": lambda: layers.Conv2D(5, 3, padding="same", activation="relu"),
    "conv_even_kernel": lambda: layers.Conv2D(5, 4, padding="same", use_bias=False),
    "conv_strided": lambda: layers.Conv2D(5, 3, strides=2, padding="same", activation="silu"),
    "conv_dilated_groups": lambda: layers.Conv2D(6, 3, dilation_rate=2, groups=2, activation="leaky_relu"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same"),
    "transpose_same": lambda: layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
    "transpose_4": lambda: layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh"),
    "transpose_valid": lambda: layers.Conv2DTranspose(3, 3, strides=2),
    "transpose_small_kernel": lambda: layers.Conv2DTranspose(3, 2, strides=3, padding="same"),
    "instance_norm": lambda: InstanceNormalization(),
    "group_norm_channels": lambda: layers.GroupNormalization(-1),
    "group_norm": lambda: layers.GroupNormalization(2),
    "own_group_norm": lambda: GroupNormalization(2),
    "group_norm_bare": lambda: layers.GroupNormalization(2, scale=False, center=False),
    "batch_norm": lambda: layers.BatchNormalization(),
    "sync_batch_norm": lambda: SyncBatchNormalization(scale=False),
    "reflection": lambda: ReflectionPadding2D(3),
    "zero_padding": lambda: layers.ZeroPadding2D(((1, 2), (3, 0))),
    "cropping": lambda: layers.Cropping2D(((1, 0), (2, 3))),
    "own_cropping": lambda: Cropping2D(((1, 0), (2, 3))),
    "nearest": lambda: layers.UpSampling2D((2, 3)),
    "bilinear": lambda: layers.UpSampling2D(2, interpolation="bilinear"),
    "max_pool": lambda: layers.MaxPooling2D(3, strides=2, padding="same"),
    "average_pool": lambda: layers.AveragePooling2D(3, strides=2, padding="same"),
    "global_average": lambda: layers.GlobalAveragePooling2D(),
    "global_max": lambda: layers.GlobalMaxPooling2D(keepdims=True),
    "relu": lambda: layers.ReLU(max_value=0.5),
    "relu_slope": lambda: layers.ReLU(negative_slope=0.3),
    "leaky_relu": lambda: layers.LeakyReLU(0.2),
    "softmax": lambda: layers.Softmax(),
    "rescaling": lambda: layers.Rescaling(2.0, -1.0),
    "dropout": lambda: layers.Dropout(0.5),
    "spatial_dropout": lambda: layers.SpatialDropout2D(0.5),
    "noise": lambda: layers.GaussianNoise(1.0),
    "identity": lambda: layers.Identity(),
    "regularization": lambda: layers.ActivityRegularization(0.1),
    "separable": lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2, padding="same", activation="gelu"),
    "separable_strided": lambda: layers.SeparableConv2D(3, 3, strides=2, padding="same", use_bias=False),
    "transpose_more": lambda: layers.Conv2DTranspose(3, 3, strides=2, padding="same", output_padding=1),
    "transpose_odd": lambda: layers.Conv2DTranspose(3, 4, strides=(2, 3), padding="valid", output_padding=(1, 0)),
    "dense": lambda: layers.Dense(3, activation="gelu"),
    "elu_layer": lambda: layers.ELU(0.7),
    "gaussian_dropout": lambda: layers.GaussianDropout(0.5),
    "layer_norm": lambda: layers.LayerNormalization(epsilon=1e-6),
    "layer_norm_bare": lambda: layers.LayerNormalization(scale=False, center=False),
    "unit_norm_channels": lambda: layers.UnitNormalization(),
    "normalization": lambda: layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[0.5, 0.6, 2.0, 0.8]),
    "normalization_one": lambda: layers.Normalization(axis=None, mean=0.3, variance=0.4),
    "normalization_back": lambda: layers.Normalization(mean=[0.1] * 4, variance=[0.5] * 4, invert=True),
    "permute": lambda: layers.Permute((3, 1, 2)),
    "prelu": lambda: layers.PReLU(shared_axes=[1, 2]),
    "relu_threshold": lambda: layers.ReLU(max_value=0.9, threshold=0.2, negative_slope=0.1),
    "resizing": lambda: layers.Resizing(17, 5),
    "resizing_nearest": lambda: layers.Resizing(9, 20, interpolation="nearest"),
    "rescaling_channels": lambda: layers.Rescaling([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4]),
    "unit_norm": lambda: layers.UnitNormalization(axis=(1, 2)),
} | {
    f"activation_{function.__name__}": lambda function=function: layers.Activation(function) for function in FUNCTIONS
}
FIXED = {
    "batch_norm_axis": lambda: layers.BatchNormalization(axis=1),
    "layer_norm_axes": lambda: layers.LayerNormalization(axis=(1, 2, 3)),
    "bicubic": lambda: layers.UpSampling2D(2, interpolation="bicubic"),
    "lanczos": lambda: layers.Resizing(7, 30, interpolation="lanczos3"),
    "antialias": lambda: layers.Resizing(7, 5, antialias=True),
}
# Tested in networks, because they take several inputs, or none of rank 4.
IN_NETWORKS = {"Add", "Concatenate", "Flatten", "Multiply", "Reshape", "Subtract", "Average", "Maximum", "Minimum"}
IN_NETWORKS |= {
    "Conv1D",
    "Conv3D",
    "MaxPooling1D",
    "AveragePooling1D",
    "GlobalAveragePooling1D",
    "RepeatVector",
    "MultiHeadAttention",
    "EinsumDense",
    "Embedding",
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_equals_keras(name):
    model = one(LAYERS[name]())
    random = np.random.default_rng(1)
    for shape in ((1, 12, 12, 4), (3, 11, 14, 4)):
        batch = random.uniform(-1, 1, shape).astype("float32")
        expected = model(batch, training=False).numpy()
        np.testing.assert_allclose(run(model, batch)[0], expected, atol=1e-4, rtol=1e-5)


def test_no_layer_is_forgotten():
    tested = {type(make()).__name__ for make in LAYERS.values()} | IN_NETWORKS
    assert tested == {kind.__name__ for kind in HANDLERS}


@pytest.mark.parametrize("name", FIXED)
def test_a_layer_of_a_known_size_equals_keras(name):
    model = one(FIXED[name](), size=12)
    batch = np.random.default_rng(1).uniform(-1, 1, (3, 12, 12, 4)).astype("float32")
    np.testing.assert_allclose(run(model, batch)[0], model(batch, training=False).numpy(), atol=1e-4, rtol=1e-5)


def test_layers_that_join_and_reshape():
    image = keras.Input((4, 6, 2), name="picture")
    inner = keras.Sequential([keras.Input((4, 6, 2)), layers.Conv2D(2, 1)])
    shared = layers.Conv2D(2, 1)
    x = layers.Add()([shared(image), shared(inner(image)), image])
    x = layers.Multiply()([x, layers.Subtract()([image, x])])
    x = layers.Concatenate(axis=1)([layers.Concatenate()([x, image]), layers.Concatenate()([image, x])])
    x = layers.Dense(12, activation="softmax")(layers.Flatten()(x))
    x = layers.Flatten()(layers.Reshape((2, 3, 2))(x))
    model = randomized(keras.Model(image, {"flat": x, "picture": layers.Reshape((4, 3, 1))(x)}))
    batch = np.random.default_rng(1).uniform(-1, 1, (3, 4, 6, 2)).astype("float32")
    expected = keras.tree.flatten(model(batch, training=False))
    for found, value in zip(run(model, batch), expected, strict=True):
        np.testing.assert_allclose(found, value.numpy(), atol=1e-5)


@pytest.mark.parametrize(("upsampling", "nodes"), [("transpose", 69), ("resize", 73)])
def test_the_resnet_generator_is_as_small_as_it_can_be(upsampling, nodes):
    model = resnet_generator(filters=4, blocks=6, upsampling=upsampling)
    kinds = Counter(node.op_type for node in emit(model_signature(model)).graph.node)
    assert kinds["InstanceNormalization"] == 17
    assert kinds["Transpose"] == 2
    assert sum(kinds.values()) == nodes
    # The zero padding and the cropping became attributes of their convolutions.
    assert "Slice" not in kinds
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 32, 48, 3)).astype("float32")
    np.testing.assert_allclose(run(model, batch)[0], model(batch).numpy(), atol=1e-4)


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_the_unet_equals_keras(norm):
    model = unet_generator(filters=4, downsamplings=4, norm=norm)
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 32, 48, 3)).astype("float32")
    np.testing.assert_allclose(run(model, batch)[0], model(batch).numpy(), atol=1e-4)


def test_the_vae_networks_are_emitted_directly(caplog, tmp_path):
    for model in (conv_encoder((8, 8, 1), 4, (8, 8), 16), conv_decoder(4, (8, 8, 1), (8, 8), 16, label_size=10)):
        artifact = export_model(model, tmp_path / model.name, format="onnx")
        again = export_model(model, tmp_path / "again", format="onnx")
        assert artifact.path.read_bytes() == again.path.read_bytes()
    # Other libraries' threads may log meanwhile.
    assert not [record for record in caplog.records if record.name.startswith("kerasgen")]


def test_an_unknown_layer_goes_through_tf2onnx_with_a_line(caplog, tmp_path):
    class Conv2D(layers.Conv2D):
        """Named like Keras' own, but not the same."""

        def call(self, inputs):
            return super().call(inputs) * 2

    image = keras.Input((8, 8, 3), name="picture")
    model = keras.Model(image, Conv2D(3, 3, name="twice")(image))
    artifact = export_model(model, tmp_path / "net", format="onnx")
    assert artifact.parity["max_difference"] <= 1e-4
    assert "the layer 'twice' is a Conv2D, which has no direct translation" in caplog.text


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(2, 3, dtype="mixed_float16"),
        layers.Activation(keras.ops.abs),
        layers.RMSNormalization(),
    ],
    ids=lambda layer: layer.name,
)
def test_an_option_without_translation_is_named(layer):
    with pytest.raises(Unsupported, match=layer.name):
        emit(model_signature(one(layer, size=8)))


def test_randomness_is_still_refused(tmp_path):
    mean = keras.Input((4,), name="mean")
    with pytest.raises(UserError, match="draws random numbers"):
        export_model(keras.Model(mean, Sampling(seed=0)([mean, mean])), tmp_path / "sampling", format="onnx")
