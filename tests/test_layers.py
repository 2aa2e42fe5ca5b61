import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.layers import (
    Cropping2D,
    GroupNormalization,
    InstanceNormalization,
    ReflectionPadding2D,
    SyncBatchNormalization,
)

IMAGES = np.random.default_rng(0).normal(3, 2, (3, 6, 5, 4)).astype("float32")


def normalized(images, epsilon=1e-5):
    mean, variance = images.mean((1, 2), keepdims=True), images.var((1, 2), keepdims=True)
    return (images - mean) / np.sqrt(variance + epsilon)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("training", [False, True])
def test_instance_norm_is_its_formula(batch, training):
    images = IMAGES[:batch]
    np.testing.assert_allclose(InstanceNormalization()(images, training=training), normalized(images), atol=1e-5)


def test_the_fused_kernel_has_the_formulas_gradients():
    images, weights = tf.constant(IMAGES[:1]), tf.constant(IMAGES[1:2])
    layer = InstanceNormalization()

    def gradients(training):
        with tf.GradientTape() as outer:
            outer.watch(images)
            with tf.GradientTape() as inner:
                inner.watch(images)
                loss = tf.reduce_sum(tf.sin(layer(images, training=training)) * weights)
            first = inner.gradient(loss, images)
            slope = tf.reduce_sum(first**2)  # as the gradient penalty does
        return first, outer.gradient(slope, images)

    for fused, formula in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_allclose(fused, formula, rtol=1e-3, atol=1e-4 * np.abs(formula).max())


@pytest.mark.parametrize("batch", [1, 3])
def test_instance_norm_in_float64_trains(batch):
    x = np.random.default_rng(0).normal(size=(batch, 6, 5, 3))
    layer = InstanceNormalization(dtype="float64")
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-9)


@pytest.mark.parametrize("training", [False, True])
def test_statistics_are_float32_under_bfloat16(training):
    # A mean far from 0 needs more digits than bfloat16 has.
    images = (IMAGES[:1] * 0.1 + 20).astype("float32")
    rounded = tf.cast(images, tf.bfloat16)
    layer = InstanceNormalization(dtype="mixed_bfloat16")
    result = layer(rounded, training=training)
    assert result.dtype == tf.bfloat16
    np.testing.assert_allclose(
        tf.cast(result, tf.float32), normalized(tf.cast(rounded, tf.float32).numpy()), atol=0.02
    )


def test_a_dynamic_batch_takes_the_formula():
    layer = InstanceNormalization()
    call = tf.function(
        lambda x: layer(x, training=True), input_signature=[tf.TensorSpec((None, None, None, 4), tf.float32)]
    )
    np.testing.assert_allclose(call(IMAGES), normalized(IMAGES), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
@pytest.mark.parametrize("groups", [1, 2, -1])
def test_group_norm_is_that_of_keras(groups, options):
    def values_and_gradients(kind):
        layer = kind(groups, **options)
        layer.build(IMAGES.shape)
        layer.set_weights([np.linspace(0.5, 2, 4)] * len(layer.weights))
        with tf.GradientTape() as tape:
            images = tf.constant(IMAGES)
            tape.watch(images)
            values = layer(images)
            loss = tf.reduce_sum(tf.sin(values))
        return values, *tape.gradient(loss, [images, *layer.trainable_variables])

    both = zip(
        values_and_gradients(GroupNormalization), values_and_gradients(keras.layers.GroupNormalization), strict=True
    )
    for own, kerases in both:
        np.testing.assert_allclose(own, kerases, rtol=1e-4, atol=1e-5)


def test_reflection_padding_is_numpys():
    padded = ReflectionPadding2D(2)(IMAGES)
    np.testing.assert_array_equal(padded, np.pad(IMAGES, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect"))
    assert ReflectionPadding2D(2).compute_output_shape((None, None, 5, 4)) == (None, None, 9, 4)


@pytest.mark.parametrize(
    "layer", [ReflectionPadding2D(3), GroupNormalization(2), InstanceNormalization(1e-3), SyncBatchNormalization()]
)
def test_config_round_trip(layer):
    config = keras.saving.serialize_keras_object(layer)
    assert "synchronized" not in config["config"]
    assert keras.saving.deserialize_keras_object(config).get_config() == layer.get_config()


@pytest.mark.parametrize("shape", [(3, 6, 5, 4), (None, None, None, 4)])
def test_cropping_is_that_of_keras(shape):
    weights = tf.constant(np.random.default_rng(1).normal(size=(3, 3, 4, 4)).astype("float32"))

    def values_and_gradient(layer):
        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
        def of(images):
            with tf.GradientTape() as tape:
                tape.watch(images)
                cropped = layer(images)
                loss = tf.reduce_sum(cropped * weights)
            return cropped, tape.gradient(loss, images)

        return of(IMAGES)

    cropping = ((1, 2), (0, 1))
    found = values_and_gradient(Cropping2D(cropping))
    for own, expected in zip(found, values_and_gradient(keras.layers.Cropping2D(cropping)), strict=True):
        np.testing.assert_array_equal(own, expected)
