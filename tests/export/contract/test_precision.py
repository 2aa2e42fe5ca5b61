"""Mixed precision becomes float32 before an export: the same weights, and nothing left in 16 bits."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasgen.errors import UserError
from kerasgen.export.contract.precision import in_float32
from kerasgen.export.contract.signature import model_signature
from kerasgen.export.formats.onnx.traversal import emit


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def mixed(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param.removeprefix("mixed_")
    keras.config.set_dtype_policy(before)


def equal_in_float32(model, *shape):
    """Compare with the model itself, as exactly as 16 bits allow, and weight by weight."""
    twin = in_float32(model)
    batch = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
    found, expected = twin(batch), ops.cast(model(batch), "float32")
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, atol=0.1)
    for ours, theirs in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    return twin


def test_operations_lambdas_nested_and_shared_layers(mixed):
    image = keras.Input((8, 8, 3), name="picture")
    factor = 0.5
    x = layers.Lambda(lambda t: t * factor + 0.1)(layers.Conv2D(4, 3)(image))
    inner = keras.Sequential([layers.Conv2D(4, 1), layers.BatchNormalization()])
    x = inner(inner(x)) + ops.cast(x * 0.5, mixed)
    x = x + inner.layers[0](x) * ops.ones((1, 1, 1, 4), mixed)
    twin = equal_in_float32(keras.Model(image, x), 2, 8, 8, 3)
    assert sum(isinstance(layer, layers.Conv2D) for layer in twin._flatten_layers()) == 2


def test_layers_with_layers_inside(mixed):
    steps = keras.Input((6, 4), name="steps")
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(layers.TimeDistributed(layers.Dense(3))(steps))
    equal_in_float32(keras.Model(steps, layers.MultiHeadAttention(2, 3)(x, x)), 2, 6, 4)


def test_inputs_of_16_bits_become_float32(mixed):
    image = keras.Input((8, 8, 3), dtype=mixed, name="picture")
    twin = equal_in_float32(keras.Model(image, 2 * layers.Conv2D(3, 3)(image)), 2, 8, 8, 3)
    assert twin.input.dtype == "float32"
    chain = keras.Sequential([keras.Input((8, 8, 3), dtype=mixed), layers.Conv2D(3, 3)])
    assert equal_in_float32(chain, 2, 8, 8, 3).inputs[0].dtype == "float32"


def test_a_policy_of_one_layer():
    image = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(3, 3, dtype="mixed_bfloat16")(image)
    twin = equal_in_float32(keras.Model(image, layers.Conv2D(3, 3)(x)), 2, 8, 8, 3)
    assert emit(model_signature(twin)).graph.node


def test_a_float32_model_is_returned_as_it_is():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(3, 3)(image))
    assert in_float32(model) is model


class Tail(keras.Model):
    """Subclassed, and able to say how it was made."""

    def __init__(self, filters=3, **options):
        super().__init__(**options)
        self.filters, self.conv, self.norm = filters, layers.Conv2D(filters, 3), layers.BatchNormalization()

    def call(self, inputs):
        return ops.tanh(self.norm(self.conv(inputs)))

    def get_config(self):
        return {"filters": self.filters}


class Silent(Tail):
    """Subclassed, and made again with other weights."""

    def get_config(self):
        return {}


def test_a_subclassed_model_is_made_again(mixed):
    model = Tail(5)
    model(np.zeros((1, 8, 8, 3), "float32"))
    equal_in_float32(model, 2, 8, 8, 3)


def test_what_cannot_be_made_again_is_named(mixed):
    model = Silent(5, name="quiet")
    model(np.zeros((1, 8, 8, 3), "float32"))
    with pytest.raises(UserError, match="'quiet' of mixed precision can't be made again in float32: give Sil"):
        in_float32(model)

    class Scale(layers.Layer):
        def __init__(self, factor, **options):
            super().__init__(**options)
            self.factor = factor

        def call(self, inputs):
            return ops.multiply(inputs, self.factor)

    image = keras.Input((8, 8, 3))
    with pytest.raises(
        UserError, match="The layer 'twice' of mixed precision can't be made again in float32: give S"
    ):
        in_float32(keras.Model(image, Scale(ops.ones(3), name="twice")(image)))
    with pytest.raises(UserError, match="The nested model 'quiet' is a Silent of mixed precision"):
        in_float32(keras.Model(image, model(image)))
