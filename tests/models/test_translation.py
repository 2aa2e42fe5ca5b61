import gc
import sys
import weakref

import keras
import numpy as np
import pytest

from kerasgen.models.translation import translate_images
from kerasgen.networks import resnet_generator

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
