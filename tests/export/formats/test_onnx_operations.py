"""Operations of keras.ops and operators on tensors in the direct ONNX graph, each against Keras in ONNX Runtime."""

import importlib

import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers, ops

from kerasgen.export.contract.signature import model_signature
from kerasgen.export.formats.onnx.graph import Unsupported
from kerasgen.export.formats.onnx.handlers import BY_NAME
from kerasgen.export.formats.onnx.traversal import emit

CHANNELS = np.array([0.5, -1.0, 2.0, 3.0], "float32")
PICTURE = np.linspace(-1, 1, 5 * 7 * 4).reshape(5, 7, 4).astype("float32")


def bare(x):
    """The same tensor in the order of Keras, not of a convolution."""
    return ops.reshape(x, (-1, 5, 7, 4))


# Each is tried on a picture that a convolution gave, and on one in Keras' own order.
OPERATIONS = {
    "gain": lambda x: x * 1.03 + 0.01,
    "reversed": lambda x: 1 - (2.0 / (x + 3)) ** 2,
    "channels": lambda x: ops.subtract(CHANNELS, x * CHANNELS),
    "a_row": lambda x: x + PICTURE[0],
    "a_picture": lambda x: ops.maximum(PICTURE, x) + ops.minimum(x, PICTURE[None]),
    "a_tensor": lambda x: x * ops.convert_to_tensor(CHANNELS),
    "other_rank": lambda x: x + ops.mean(x, axis=(0, 1)),
    "other_rank_3": lambda x: x * ops.mean(x, axis=0),
    "negative_abs": lambda x: -abs(x),
    "powers": lambda x: ops.sqrt(ops.square(x) + 1e-3) + ops.power(abs(x) + 0.1, 1.5) + ops.rsqrt(abs(x) + 1),
    "functions": lambda x: (
        ops.sin(x) + ops.cos(x) + ops.exp(x) + ops.log(abs(x) + 1) + ops.log1p(abs(x)) + ops.expm1(x)
    ),
    "whole_parts": lambda x: (
        ops.floor_divide(x, 0.7) + ops.mod(x, 0.7) + ops.one_hot(ops.cast(4 * x, "int32"), 3)[..., 0]
    ),
    "steps": lambda x: ops.floor(3 * x) + ops.ceil(x) + ops.sign(x),
    "reciprocal": lambda x: ops.reciprocal(abs(x) + 1) + ops.erf(x),
    "clip": lambda x: ops.clip(x + 0.5, 0.0, 1.0),
    "clip_by_arrays": lambda x: ops.clip(x, -(CHANNELS**2), CHANNELS**2),
    "where": lambda x: ops.where(x > 0.1, x, 0.1 * x),
    "where_and": lambda x: ops.where(ops.logical_and(x > 0.1, x <= 0.5), 1.0, x),
    "where_or": lambda x: ops.where(ops.logical_or(ops.logical_not(x >= 0), ops.equal(x, 0.0)), x, CHANNELS),
    "logical_xor": lambda x: ops.cast(ops.logical_xor(x < 0.1, x < 0.5), "float32"),
    "casts": lambda x: x * ops.cast(ops.cast(x * 4, "int32") + 1, "float32"),
    "like": lambda x: ops.ones_like(x) - ops.zeros_like(x[..., :1]) + x,
    "means": lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True),
    "reductions": lambda x: (
        ops.cast(ops.argmax(x, axis=1)[:, None] + ops.argmin(x, axis=1)[:, None], "float32")[..., 0]
        + ops.sum(x, axis=-1)
        + ops.max(x, -1) * ops.min(x, axis=3)
        + ops.amax(x, -1)
        - ops.amin(x, -1)
    ),
    "one_axis": lambda x: ops.mean(x, axis=1) * ops.prod(x, axis=1),
    "all_axes": lambda x: x * ops.mean(x) + ops.sum(abs(x)),
    "over_the_batch": lambda x: ops.max(x, axis=(0, 3)),
    "variance": lambda x: (x - ops.mean(x, -1, keepdims=True)) / ops.sqrt(ops.var(x, -1, keepdims=True) + 0.1),
    "deviation": lambda x: ops.std(x, axis=(1, 2)) + ops.logsumexp(x, axis=(1, 2)),
    "reshape": lambda x: ops.reshape(x, (-1, 35, 4)),
    "reshape_there_and_back": lambda x: ops.reshape(ops.reshape(x, (-1, 7, 5, 2, 2)), (-1, 7, 5, 4)) + 1,
    "ravel": lambda x: ops.ravel(x),
    "squeeze_excite": lambda x: x * ops.reshape(ops.mean(x, axis=(1, 2)), (-1, 1, 1, 4)),
    "dims": lambda x: x * ops.expand_dims(ops.expand_dims(ops.max(x, axis=(1, 2)), 1), 1),
    "squeeze": lambda x: ops.squeeze(ops.mean(x, axis=(1, 2), keepdims=True), axis=(1, 2)),
    "transpose": lambda x: ops.transpose(x, (0, 2, 1, 3)),
    "transpose_all": lambda x: ops.transpose(x),
    "swapaxes": lambda x: ops.swapaxes(x, 1, -1),
    "moveaxis": lambda x: ops.moveaxis(x, 1, 2) + ops.moveaxis(x, [1, 2], [2, 1]),
    "concatenate": lambda x: ops.concatenate([x, x * 2, ops.reshape(x, (-1, 5, 7, 4))], axis=-1),
    "concatenate_rows": lambda x: ops.concatenate([x, -x], axis=1),
    "stack": lambda x: ops.stack([x, -x], axis=2),
    "split": lambda x: ops.concatenate(ops.split(x, [1, 3], axis=-1)[::-1], axis=-1),
    "unstack": lambda x: ops.unstack(x, axis=3)[2] + ops.unstack(x, axis=3)[-1],
    "items": lambda x: x[:, 1:-1, ::2, :3],
    "items_backwards": lambda x: x[:, ::-1, -2:0:-2],
    "item": lambda x: x[:, -1] * x[:, 2],
    "item_of_channels": lambda x: x[..., 1][..., None] + x[..., 0, :][:, :, None],
    "new_axis": lambda x: x[:, None, :, 0] + x[:, :, 0, None],
    "slice": lambda x: ops.slice(x, (0, 1, 2, 0), (1, 3, 4, 4)),
    "pad": lambda x: ops.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]]),
    "pad_with": lambda x: ops.pad(x, [[0, 0], [1, 2], [3, 0], [0, 1]], constant_values=0.7),
    "pad_reflect": lambda x: ops.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]], mode="reflect"),
    "flip": lambda x: ops.flip(x, axis=2) + ops.flip(x, axis=(1, 3)),
    "tile": lambda x: ops.tile(x, (1, 2, 1, 3)),
    "repeat": lambda x: ops.repeat(ops.repeat(x, 2, axis=1), 3, axis=-1),
    "broadcast_to": lambda x: ops.divide(
        ops.broadcast_to(ops.mean(x, 0, keepdims=True), (3, 5, 7, 4)), ops.broadcast_to(CHANNELS, (7, 4))
    ),
    "matmul": lambda x: ops.matmul(x, np.diag(CHANNELS)[:, :3]),
    "gram": lambda x: ops.matmul(ops.swapaxes(ops.reshape(x, (-1, 35, 4)), 1, 2), ops.reshape(x, (-1, 35, 4))) / 35,
    "at_sign": lambda x: ops.reshape(x, (-1, 35, 4)) @ np.ones((4, 2), "float32"),
    "einsum": lambda x: ops.einsum("bhwc,cd->bdhw", x, np.diag(CHANNELS)),
    "normalize": lambda x: ops.normalize(x, axis=-1),
    "softmax": lambda x: ops.softmax(x) + ops.softmax(x, axis=1),
    "activations": lambda x: (
        ops.relu(x) + ops.relu6(9 * x) + ops.sigmoid(x) + ops.silu(x) + ops.selu(x) + ops.tanh(x)
    ),
    "more_activations": lambda x: ops.gelu(x) + ops.gelu(x, approximate=False) + ops.elu(x, 0.5) + ops.celu(x, 0.5),
    "hard_activations": lambda x: ops.hard_sigmoid(4 * x) + ops.hard_silu(4 * x) + ops.hard_tanh(2 * x),
    "soft_activations": lambda x: ops.softplus(x) + ops.softsign(x) + ops.log_sigmoid(x) + ops.tanh_shrink(x),
    "leaky": lambda x: ops.leaky_relu(x, 0.3),
    "stop_gradient": lambda x: ops.stop_gradient(x) + x,
    "resize": lambda x: ops.image.resize(x, (9, 4)) + ops.image.resize(x, (9, 4), interpolation="nearest"),
    "resize_antialias": lambda x: ops.image.resize(x, (3, 4), antialias=True),
    "a_layer_between": lambda x: layers.Conv2D(4, 1)(bare(x) * 2) + x,
}


def equal_in_onnx(model, *batches, atol=1e-4):
    content = emit(model_signature(model)).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(None, dict(zip([i.name for i in session.get_inputs()], batches, strict=True)))
    given = batches[0] if len(batches) == 1 else list(batches)
    for value, expected in zip(found, keras.tree.flatten(model(given)), strict=True):
        np.testing.assert_allclose(value, keras.ops.convert_to_numpy(expected), atol=atol, rtol=1e-4)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("order", ["moved", "bare"])
def test_an_operation_equals_keras(name, order):
    keras.utils.set_random_seed(0)
    image = keras.Input((5, 7, 4), name="picture")
    x = layers.Conv2D(4, 3, padding="same")(image) if order == "moved" else bare(image)
    batch = np.random.default_rng(0).uniform(-1, 1, (3, 5, 7, 4)).astype("float32")
    equal_in_onnx(keras.Model(image, OPERATIONS[name](x)), batch)


def test_every_class_with_a_handler_exists():
    for name in BY_NAME:
        module, _, kind = name.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), kind), type), name


def test_every_operation_with_a_handler_is_tried():
    tried = set()
    for make in OPERATIONS.values():
        image = keras.Input((5, 7, 4))
        tried |= {type(operation).__name__ for operation in keras.Model(image, make(image)).operations}
    handled = {name.rpartition(".")[2] for name in BY_NAME if ".ops." in name}
    assert handled - tried <= {"Abs", "TrueDivide"}  # other names of Absolute and Divide


def test_other_ranks_and_several_inputs():
    row, steps = keras.Input((6,), name="row"), keras.Input((9, 6), name="steps")
    volume, strength = keras.Input((4, 6, 5, 2), name="volume"), keras.Input((), name="strength")
    x = layers.Conv1D(6, 3, padding="same", activation="relu")(steps)
    x = layers.MaxPooling1D(2)(x) + layers.AveragePooling1D(2)(x)
    x = x * layers.RepeatVector(4)(layers.BatchNormalization()(row))
    x = layers.Maximum()([x, 0.1 * x]) + layers.Minimum()([x, -x]) + layers.Average()([x, x, -x])
    y = layers.Conv3D(3, 3, padding="same")(volume) * ops.reshape(strength, (-1, 1, 1, 1, 1))
    outputs = [layers.GlobalAveragePooling1D()(layers.Dense(4)(x)), y, layers.Dense(2)(y), layers.Permute((2, 1))(x)]
    random = np.random.default_rng(0)
    shapes = ((3, 6), (3, 9, 6), (3, 4, 6, 5, 2), (3,))
    batches = [random.uniform(-1, 1, shape).astype("float32") for shape in shapes]
    equal_in_onnx(keras.Model([row, steps, volume, strength], outputs), *batches)


def test_attention():
    queries, steps = keras.Input((5, 6), name="queries"), keras.Input((7, 4), name="steps")
    x = layers.EinsumDense("abc,cd->abd", (None, 6), bias_axes="d", activation="tanh")(steps)
    own = layers.MultiHeadAttention(2, 3, use_bias=False)(x, x)
    outputs = [own, layers.MultiHeadAttention(3, 2, value_dim=5, output_shape=4)(queries, own, key=x)]
    random = np.random.default_rng(0)
    model = keras.Model([queries, steps], outputs)
    for weight in model.weights:
        weight.assign(random.uniform(-1, 1, weight.shape))
    equal_in_onnx(model, *(random.uniform(-1, 1, (3, *shape)).astype("float32") for shape in ((5, 6), (7, 4))))


@pytest.mark.parametrize(
    "options", [{"use_causal_mask": True}, {"attention_mask": np.ones((1, 7, 7), "bool")}, {"training": True}]
)
def test_attention_with_a_mask_is_not_translated(options):
    steps = keras.Input((7, 4), name="steps")
    model = keras.Model(steps, layers.MultiHeadAttention(2, 3, dropout=0.5, name="masked")(steps, steps, **options))
    with pytest.raises(Unsupported, match="'masked' is called or made with"):
        emit(model_signature(model))


def test_integers_are_embedded_and_compared():
    labels, image = keras.Input((3,), dtype="int32", name="labels"), keras.Input((4, 4, 2), name="picture")
    x = layers.Conv2D(2, 1)(image) * layers.Reshape((1, 1, 2))(ops.mean(layers.Embedding(5, 2)(labels), axis=1))
    model = keras.Model([labels, image], [x, ops.where(labels > 2, labels * 2, labels), labels])
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 2)).astype("float32")
    equal_in_onnx(model, np.array([[0, 1, 4], [2, 3, 1]], "int32"), batch)


def test_a_call_that_says_more_than_its_inputs_is_not_translated():
    image = keras.Input((4, 4, 2), name="picture")
    model = keras.Model(image, layers.BatchNormalization(name="always")(image, training=True))
    with pytest.raises(Unsupported, match="'always' is called with more than its inputs"):
        emit(model_signature(model))


def test_a_subclass_of_a_functional_model_is_taken_by_what_it_computes():
    class Twice(keras.Model):
        def call(self, inputs):
            return 2 * super().call(inputs)

    image = keras.Input((4, 4, 2), name="picture")
    with pytest.raises(Unsupported, match="is not a functional model"):
        emit(model_signature(Twice(image, layers.Conv2D(2, 1)(image))))
