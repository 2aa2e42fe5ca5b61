"""A colorizer on drawings of other sizes than it was trained on, against Pillow's resizing."""

import keras
import numpy as np
from PIL import Image

from kerasgen.models import PairedTranslator

SIDE = 32


def colorful():
    """A model whose colors differ from place to place."""
    model = PairedTranslator("colorizer", generator_options={"channels": 5, "filters": [8, 8]})
    model.generator_a2b.set_weights([3 * w for w in model.generator_a2b.get_weights()])
    return model


def drawing(height, width):
    image = np.random.default_rng(0).uniform(-1, 1, (height, width, 5)).astype("float32")
    image[..., 3:] = (0.5, 1.0)
    return image


def resized(image, side):
    """Pillow's bilinear resizing, which averages where it shrinks, of each channel of floats."""
    channels = [Image.fromarray(image[..., i]).resize((side, side), Image.Resampling.BILINEAR) for i in range(3)]
    return np.stack(channels, axis=-1)


def test_at_its_own_size_it_is_the_network_itself():
    model = colorful()
    images = drawing(SIDE, SIDE)[None]
    np.testing.assert_array_equal(model.translators_at(SIDE)["a2b"](images), model.generator_a2b(images))


def test_a_larger_drawing_gets_the_small_ones_colors_under_its_own_lines():
    model, image = colorful(), drawing(48, 96)
    square = np.ones((96, 96, 3), np.float32)
    square[24:72] = image[..., :3]
    known = np.broadcast_to(image[0, 0, 3:], (SIDE, SIDE, 2))
    network = model.generator_a2b
    color = keras.Model(network.input, network.get_layer("color").output)
    found = np.asarray(color(np.concatenate([resized(square, SIDE), known], axis=-1)[None]))[0]
    expected = (image[..., :3] + 1.0) * resized(found, 96)[24:72] - 1.0
    np.testing.assert_allclose(model.translators_at(SIDE)["a2b"](image[None])[0], expected, atol=1e-4)
    assert found.std() > 0.05


def test_other_generators_take_any_size_as_they_are():
    model = PairedTranslator("restorer", generator_options={"blocks": 1})
    assert model.translators_at(SIDE)["a2b"] is model.generator_a2b
