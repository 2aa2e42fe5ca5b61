import gc
import sys
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from kerasgen.models.translation import size_multiple, translate_images
from kerasgen.networks import resnet_generator, unet_generator
from kerasgen.networks.inpainting import inpainter
from kerasgen.networks.restoration import restorer, super_resolver

LARGE_PICTURE = """
import numpy as np
from kerasgen.models.translation import translate_images
from kerasgen.networks import resnet_generator

generator = resnet_generator(filters=32, blocks=6)
picture = np.random.default_rng(0).uniform(-1, 1, (640, 640, 3)).astype("float32")
translate_images(generator, picture[:64, :64])
"""


def small_generator():
    return resnet_generator(filters=4, blocks=1, downsamplings=1)


def test_translation_sees_weights_that_change():
    generator = small_generator()
    picture = np.random.default_rng(0).uniform(-1, 1, (12, 16, 3)).astype("float32")
    before = translate_images(generator, picture)
    generator.set_weights([2 * w for w in generator.get_weights()])
    after = translate_images(generator, picture)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, generator(picture[None])[0], atol=1e-5)


def test_a_generator_that_translated_can_be_forgotten():
    generator = small_generator()
    translate_images(generator, np.zeros((8, 8, 3), np.float32))
    seen = weakref.ref(generator)
    del generator
    gc.collect()
    assert seen() is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak memory so")
def test_translation_takes_the_memory_of_a_few_layers(memory_taken):
    taken = memory_taken(LARGE_PICTURE, "translate_images(generator, picture)")
    generator = resnet_generator(filters=32, blocks=6)
    every_layer = keras.Model(generator.inputs, [layer.output for layer in generator.layers])
    kept_by_keras = sum(4 * np.prod(shape) for shape in every_layer.compute_output_shape((1, 640, 640, 3)))
    assert taken < kept_by_keras / 3  # 0.14 of it with oneDNN, 0.22 without


def pooled(pool, size):
    """A U-Net of one level, which pools down and enlarges."""
    inputs = keras.Input((None, None, 3))
    low = layers.Conv2D(4, 3, padding="same")(pool(inputs))
    joined = layers.Concatenate()([inputs, layers.UpSampling2D(size)(low)])
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="tanh")(joined))


def nested():
    """Two halvings, one of them in a network inside the network."""
    inputs = keras.Input((None, None, 3))
    low = layers.AveragePooling2D(2)(inputs)
    x = layers.Conv2DTranspose(3, 2, strides=2)(pooled(layers.MaxPooling2D(2), 2)(low))
    return keras.Model(inputs, layers.Add()([inputs, x]))


@pytest.mark.parametrize(
    ("make", "multiple"),
    [
        (lambda: pooled(layers.MaxPooling2D(2), 2), 2),
        (lambda: pooled(layers.AveragePooling2D(3), 3), 3),
        (lambda: pooled(layers.AveragePooling2D(4, padding="same"), 4), 4),
        (lambda: pooled(layers.SeparableConv2D(4, 3, strides=2, padding="same"), 2), 2),
        (lambda: pooled(layers.DepthwiseConv2D(3, strides=2, padding="same"), 2), 2),
        (lambda: pooled(layers.Conv2D(4, 3, dilation_rate=2, padding="same"), 1), 1),
        (nested, 4),
        (lambda: resnet_generator(filters=4, blocks=1), 4),
        (lambda: unet_generator(filters=4, downsamplings=4), 16),
        (lambda: super_resolver(4, filters=4, blocks=1), 1),
        (lambda: restorer(filters=4, blocks=1), 2),
        (lambda: inpainter(filters=(4, 4)), 8),
    ],
)
def test_the_multiple_of_sizes_that_a_network_can_take(make, multiple):
    network = make()
    assert size_multiple(network) == multiple
    channels = network.input_shape[-1]
    pictures = np.random.default_rng(0).uniform(-1, 1, (1, 67, 71, channels)).astype("float32")
    scale = network.compute_output_shape((1, 64, 64, channels))[1] // 64
    assert translate_images(network, pictures).shape == (1, 67 * scale, 71 * scale, 3)
