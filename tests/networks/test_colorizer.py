"""The colorizer: whatever its weights, ink stays ink; and what is known of a picture can be settled."""

import numpy as np
import pytest

from kerasgen.errors import UserError
from kerasgen.networks.colorizer import colorizer
from kerasgen.networks.macs import macs
from kerasgen.networks.told import told


def drawing(channels: int) -> np.ndarray:
    """A black ring, half of it gray, on white, and random facts beside it: [2, 16, 24, channels] in [-1, 1]."""
    rows, columns = np.mgrid[0:16, 0:24]
    ring = np.abs(np.hypot(rows - 8, columns - 12) - 5) < 1
    shades = np.where(ring, np.where(columns < 12, -1.0, 0.2), 1.0).astype("float32")
    facts = np.random.default_rng(0).uniform(-1, 1, (2, 1, 1, channels - 3))
    return np.concatenate([np.tile(shades[None, ..., None], (2, 1, 1, 3)), np.tile(facts, (1, 16, 24, 1))], -1)


def shaken(network):
    random = np.random.default_rng(1)
    network.set_weights([w + random.normal(0, 0.1, w.shape) for w in network.get_weights()])
    return network


@pytest.mark.parametrize(
    ("norm", "separable"), [("batch", False), ("instance", False), ("none", False), ("batch", True)]
)
def test_the_drawing_lies_over_the_color(norm, separable):
    image = drawing(5)
    network = shaken(colorizer(5, filters=(8, 64), norm=norm, separable=separable))
    colored = network(image).numpy()
    assert colored.shape == (2, 16, 24, 3)
    ink = image[..., :3]
    np.testing.assert_allclose(colored[ink == -1], -1, atol=1e-6)
    assert (colored <= ink + 1e-6).all()
    # The color under a pixel is what the drawing is multiplied by, and the network's own layer gives it.
    color = network.get_layer("color").output
    under = type(network)(network.input, color)(image).numpy()
    np.testing.assert_allclose((colored + 1) / 2, (ink + 1) / 2 * under, atol=1e-6)
    assert np.ptp(under) > 0.01


def test_a_separable_one_mixes_pixels_and_channels_apart():
    """All but the first convolution, which has few channels to mix, and the last, which has few to give."""
    network, dense = (colorizer(5, filters=(8, 64), separable=separable) for separable in (True, False))
    convolutions = [layer for layer in network.layers if "Conv2D" in type(layer).__name__]
    wide = [c.name for c in convolutions if "Depthwise" not in type(c).__name__ and c.kernel_size != (1, 1)]
    assert wide == ["down1_conv", "color_conv"]
    assert network.output_shape == dense.output_shape
    assert macs(network, 64, 64) < 0.3 * macs(dense, 64, 64)


def test_a_settled_fact_is_that_channel_everywhere():
    network = shaken(colorizer(5, filters=(8, 8)))
    image = drawing(5)
    image[..., 3], image[..., 4] = 0.5, -1.0
    np.testing.assert_allclose(told(network, (0.5, -1.0))(image[..., :3]), network(image), atol=1e-6)
    assert not np.allclose(told(network, (-0.5, 1.0))(image[..., :3]), network(image), atol=1e-3)


@pytest.mark.parametrize("options", [{"channels": 2}, {"filters": (8,)}, {"norm": "layer"}])
def test_mistakes_get_a_sentence(options):
    with pytest.raises(UserError):
        colorizer(**options)
