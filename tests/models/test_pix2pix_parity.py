"""One training step of pix2pix against PyTorch, with the same dropout masks: losses, gradients, new weights."""

import keras
import numpy as np
import pytest
import torch
from torch_cyclegan import PatchGAN, UnetGenerator

from kerasgen.commands.torch_import import import_torch
from kerasgen.layers import NoiseDropout
from kerasgen.models import PairedTranslator, find
from kerasgen.networks.unet import unet_generator, without_noise

from .parity import gradients_of, photographs, record_gradients, to_torch

SIZE, LEVELS = 128, 7  # two levels drop
GENERATOR = {"filters": 4, "downsamplings": LEVELS, "norm": "batch_of_one", "dropout": 0.5}
DISCRIMINATOR = {"filters": 8, "downsamplings": 2, "norm": "batch_of_one"}
LOSSES = {"lambda_l1": 100.0, "lambda_adversarial": 1.0}


class Masked(torch.nn.Module):
    """Dropout by masks that it is given, as Keras draws them."""

    def forward(self, x):
        return x * self.mask


class Pix2Pix:
    """The training step of the paper's own code, in PyTorch: the discriminator first, the picture made once."""

    def __init__(self, generator, discriminator):
        self.generator, self.discriminator = generator, discriminator
        options = {"lr": 2e-4, "betas": (0.5, 0.999)}
        self.optimizers = [torch.optim.Adam(net.parameters(), **options) for net in (generator, discriminator)]

    def step(self, a, b):
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
        fake = self.generator(a)
        fake_logits = self.discriminator(torch.cat([a, fake.detach()], 1))
        real_logits = self.discriminator(torch.cat([a, b], 1))
        fooled = cross_entropy(fake_logits, torch.zeros_like(fake_logits))
        judged = 0.5 * (fooled + cross_entropy(real_logits, torch.ones_like(real_logits)))
        judged.backward()
        gradients = [parameter.grad.clone() for parameter in self.discriminator.parameters()]
        self.optimizers[1].step()

        logits = self.discriminator(torch.cat([a, fake], 1))
        losses = {
            "adversarial_loss": cross_entropy(logits, torch.ones_like(logits)),
            "l1_loss": (fake - b).abs().mean(),
        }
        total = losses["adversarial_loss"] + 100 * losses["l1_loss"]
        total.backward()
        for parameter, gradient in zip(self.discriminator.parameters(), gradients, strict=True):
            parameter.grad = gradient  # what the generator's loss added to it is not learned from
        self.optimizers[0].step()
        return {**losses, "loss": total, "discriminator_loss": judged}


def imported(module, tmp_path):
    torch.save(module.state_dict(), tmp_path / "net.pth")
    return import_torch(tmp_path / "net.pth", batch_statistics=True).network


def pair(tmp_path):
    """A pix2pix and its PyTorch twin, of the same weights and with the masks of the next step."""
    torch.manual_seed(3)
    keras.utils.set_random_seed(3)  # of the masks: at a kink of the activations rounding would decide
    generator = UnetGenerator(filters=4, levels=LEVELS, dropout=Masked)
    discriminator = PatchGAN(6, filters=8, levels=2, norm="batch")
    model = PairedTranslator("unet", generator_options=GENERATOR, discriminator_options=DISCRIMINATOR, **LOSSES)
    for network, module in ((model.generator_a2b, generator), (model.discriminator, discriminator)):
        for variable, weight in zip(network.weights, imported(module, tmp_path).weights, strict=True):
            variable.assign(weight)
    model.compile()
    dropping = [layer for layer in model.generator_a2b.layers if isinstance(layer, NoiseDropout)]
    for layer, module in zip(dropping, [m for m in generator.modules() if isinstance(m, Masked)], strict=True):
        seed = keras.random.SeedGenerator(layer.seed)  # as the layer's own begins
        ones = keras.ops.ones((1, side(layer), side(layer), layer.output.shape[-1]))
        module.mask = to_torch(keras.random.dropout(ones, 0.5, seed=seed).numpy())
    return model, Pix2Pix(generator, discriminator)


def side(layer):
    level = int(layer.name.removeprefix("up").removesuffix("_dropout"))
    return SIZE // 2 ** (level - 1)


@pytest.mark.slow
def test_a_training_step_equals_pytorchs(tmp_path):
    model, trainer = pair(tmp_path)
    a, b = (images[:1].repeat(SIZE // 32, axis=1).repeat(SIZE // 32, axis=2) for images in photographs())
    # Far from gray, where no new picture is: the gradient of L1 is a sign, which rounding may not decide.
    b = np.where(b < 0, b / 2 - 0.5, b / 2 + 0.5)
    discriminator_gradients, generator_gradients = [], []
    record_gradients(model.discriminator_optimizer, discriminator_gradients)
    record_gradients(model.optimizer, generator_gradients)

    expected = trainer.step(to_torch(a), to_torch(b))
    logs = model.train_step({"a": a, "b": b})

    assert logs.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value.detach(), rtol=1e-4, err_msg=name)
    for network, module, recorded in (
        (model.generator_a2b, trainer.generator, generator_gradients),
        (model.discriminator, trainer.discriminator, discriminator_gradients),
    ):
        gradients = gradients_of(module, tmp_path, batch_statistics=True)
        weights = imported(module, tmp_path).trainable_variables
        for variable, found, right, weight in zip(
            network.trainable_variables, recorded, gradients, weights, strict=True
        ):
            assert np.linalg.norm(found - right) <= 1e-3 * np.linalg.norm(right), variable.path
            # Adam's first step is the gradient's sign, which rounding decides where the gradient is tiny.
            clear = np.abs(right) > 1e-3 * np.abs(right).max()
            # Keras adds epsilon before it corrects the bias, where it counts 1 / sqrt(1 - beta_2) times as much.
            allowed = 2e-6 + 2e-4 * 3.2e-7 / np.abs(right)[clear]
            assert (np.abs(variable.numpy() - weight)[clear] <= allowed).all(), variable.path


def test_the_noise_stays_at_test_unless_it_is_taken_out():
    network = unet_generator(filters=2, downsamplings=6, norm="batch_of_one", dropout=0.5)
    picture = photographs()[0][:1].repeat(2, axis=1).repeat(2, axis=2)
    first, second = (network(picture, training=False).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0
    quiet = without_noise(network)
    np.testing.assert_array_equal(quiet(picture, training=False), quiet(picture, training=False))
    assert all(ours is theirs for ours, theirs in zip(quiet.weights, network.weights, strict=True))
    again = keras.Model.from_config(network.get_config())
    seeds = [[layer.seed for layer in net.layers if isinstance(layer, NoiseDropout)] for net in (network, again)]
    assert seeds[0] == seeds[1] != [None]
    plain = unet_generator(filters=2, downsamplings=6, norm="batch_of_one", dropout=0.5, dropout_at_test=False)
    plain.set_weights(network.get_weights())
    np.testing.assert_array_equal(plain(picture, training=False), quiet(picture, training=False))


@pytest.mark.slow
def test_the_preset_is_the_papers_network():
    """54,413,955 weights, as the project of the paper's authors counts them."""
    model_class, preset = find("pix2pix_256")
    model = model_class(**preset.config)
    assert model.generator_a2b.count_params() == 54_413_955
    dropping = [layer.name for layer in model.generator_a2b.layers if isinstance(layer, NoiseDropout)]
    assert dropping == ["up7_dropout", "up6_dropout", "up5_dropout"]
    assert model.networks_to_export()["generator_a2b"].network.count_params() == 54_413_955
