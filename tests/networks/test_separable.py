"""Separable generators: weights and multiplications as counted elsewhere, and the block as PyTorch computes it."""

import keras
import numpy as np
import pytest
import torch

from kerasgen.errors import UserError
from kerasgen.models import CycleGAN, GenerativeModel, PairedTranslator, presets
from kerasgen.networks.macs import macs
from kerasgen.networks.resnet import resnet_generator
from kerasgen.networks.separable import separable_conv


@pytest.mark.parametrize(
    ("filters", "weights", "gmacs"), [(16, 137_347, "0.95"), (32, 514_307, "3.1"), (64, 1_987_075, "11.1")]
)
def test_separable_resnet_9_has_the_published_size(filters, weights, gmacs):
    network = resnet_generator(filters=filters, separable=True)
    assert network.count_params() == weights
    assert f"{macs(network) / 1e9:.{len(gmacs.partition('.')[2])}f}" == gmacs


def test_dense_resnet_9_has_the_published_size():
    network = resnet_generator()
    assert network.count_params() == 11_378_179
    assert f"{macs(network) / 1e9:.1f}" == "49.6"


def test_macs_of_every_kind_by_hand():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(image)
    x = keras.layers.Conv2D(8, 3, padding="same", groups=4)(x)
    x = keras.layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2)(x)
    inner = keras.Sequential([keras.Input((None, None, 6)), keras.layers.DepthwiseConv2D(5, padding="same")])
    x = keras.layers.Conv2DTranspose(4, 4, strides=2, padding="same")(inner(x))
    x = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    half = 10 * 16  # pixels at half the resolution of 20 × 32
    by_hand = half * 9 * 3 * 8 + half * 9 * 2 * 8 + half * (9 * 16 + 16 * 6) + half * 25 * 6 + half * 16 * 6 * 4 + 40
    assert macs(keras.Model(image, x), 20, 32) == by_hand


def test_block_is_pytorchs():
    image = keras.Input((None, None, 4))
    network = keras.Model(image, separable_conv(image, "instance", "conv"))
    random = np.random.default_rng(0)
    network.set_weights([random.normal(size=w.shape) for w in network.get_weights()])
    depthwise, depthwise_bias, pointwise, pointwise_bias = map(torch.tensor, network.get_weights())
    pictures = random.normal(size=(2, 9, 7, 4)).astype("float32")
    x = torch.tensor(pictures).permute(0, 3, 1, 2)
    x = torch.nn.functional.conv2d(x, depthwise.permute(2, 3, 0, 1), depthwise_bias, groups=4)
    x = torch.nn.functional.instance_norm(x)
    x = torch.nn.functional.conv2d(x, pointwise.permute(3, 2, 0, 1), pointwise_bias)
    np.testing.assert_allclose(network(pictures), x.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def _translator(kind: str, **options) -> PairedTranslator:
    return PairedTranslator(kind, generator_options={"separable": True, **options})


@pytest.mark.parametrize(
    "make",
    [
        lambda: CycleGAN(24, generator_options={"separable": True, "filters": 16, "blocks": 1}).generator_a2b,
        lambda: _translator("resnet", filters=16, blocks=1).generator_a2b,
        lambda: _translator("restorer", filters=16).generator_a2b,
        lambda: _translator("restorer", filters=16, curve=True).generator_a2b,
        lambda: _translator("super_resolver", filters=16).generator_a2b,
    ],
)
def test_every_model_takes_separable_generators(make):
    network = make()
    blocks = [layer for layer in network.layers if layer.name.startswith("block")]
    assert any(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in blocks)
    wide = [layer.name for layer in blocks if type(layer) is keras.layers.Conv2D and layer.kernel_size != (1, 1)]
    assert wide == []


def test_summary_says_what_a_translation_costs():
    lines = []
    model = PairedTranslator("resnet", generator_options={"separable": True, "filters": 16})
    model.summary(print_fn=lambda text, **_: lines.append(text))
    assert "generator_a2b: 137,347 weights, 0.955 GMAC at 256×256" in lines
    assert "transposed ones at their input's resolution" in lines[-1]


@pytest.mark.slow
def test_presets_say_what_they_cost():
    known = presets()

    def made(name: str) -> GenerativeModel:
        """As new, and so is its first stage, whose weights say nothing of the costs."""
        model_class, preset = known[name]
        first_stage = preset.config.get("first_stage")
        return model_class(**preset.config | ({"first_stage": made(first_stage)} if first_stage else {}))

    for name, (_, preset) in known.items():
        model = made(name)
        side = preset.data["image_size"]
        assert next(iter(model.costs(side, side).values())).macs == preset.macs, name


@pytest.mark.parametrize("make", [CycleGAN, PairedTranslator])
def test_an_option_that_a_network_lacks_is_a_sentence(make):
    with pytest.raises(UserError, match="generator_options has 'separable', but unet_generator takes channels"):
        make(generator_type="unet", generator_options={"separable": True})
