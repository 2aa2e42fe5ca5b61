"""One whole training step against PyTorch: losses, gradients of the joint objective, and the new weights."""

import numpy as np
import pytest
import tensorflow as tf
import torch
from torch_cyclegan import PatchGAN, ResnetGenerator, Trainer

from kerasgen.commands.torch_import import import_torch
from kerasgen.models import CycleGAN

from .parity import SIZE, gradients_of, photographs, record_gradients, to_torch, weights_of

NAMES = {"generator_a2b": "g_a2b", "generator_b2a": "g_b2a", "discriminator_a": "d_a", "discriminator_b": "d_b"}


def pair(tmp_path, **options):
    """A CycleGAN and a PyTorch trainer with the same weights."""
    torch.manual_seed(1)
    modules = {
        name: ResnetGenerator(filters=8, blocks=2) if name.startswith("generator") else PatchGAN(filters=8, levels=2)
        for name in NAMES
    }
    networks = {}
    for name, module in modules.items():
        torch.save(module.state_dict(), tmp_path / "net.pth")
        networks[name] = import_torch(tmp_path / "net.pth").network
    model = CycleGAN(SIZE, pool_size=4, seed=5, **networks, **options)
    model.compile()
    trainer = Trainer(
        *modules.values(),
        lambda_identity=model.lambda_identity,
        pool_a=lambda fake: to_torch(pooled(model.pool_a, fake)),
        pool_b=lambda fake: to_torch(pooled(model.pool_b, fake)),
    )
    return model, trainer


def pooled(pool, fake):
    """What the pool would answer, without changing it; `test_image_pool` proves that the answer is right."""
    answers, _, _ = pool._exchange(tf.constant(fake.numpy().transpose(0, 2, 3, 1)))
    return answers.numpy()


@pytest.mark.parametrize("lambda_identity", [0.5, 0.0])
@pytest.mark.parametrize("pool", ["empty", "full"])
def test_a_training_step_equals_pytorchs(pool, lambda_identity, tmp_path):
    model, trainer = pair(tmp_path, lambda_identity=lambda_identity)
    a, b = photographs()
    if pool == "full":
        for images in (a, b):
            model.pool_a(images[:4])
            model.pool_b(images[4:])
    generator_gradients, discriminator_gradients = [], []
    record_gradients(model.generator_optimizer, generator_gradients)
    record_gradients(model.discriminator_optimizer, discriminator_gradients)

    expected = trainer.step(to_torch(a[:4]), to_torch(b[:4]))
    logs = model.train_step({"a": a[:4], "b": b[:4]})

    assert set(logs) == {*expected, "discriminator_loss"}
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value.detach(), rtol=1e-4, err_msg=name)
    recorded = generator_gradients + discriminator_gradients
    for ours, theirs in NAMES.items():
        network, module = getattr(model, ours), getattr(trainer, theirs)
        expected_gradients, new_weights = gradients_of(module, tmp_path), weights_of(module, tmp_path)
        largest = max(np.abs(g).max() for g in expected_gradients)
        for variable, right, weight in zip(network.trainable_variables, expected_gradients, new_weights, strict=True):
            gradient = recorded.pop(0)
            # A bias before an instance norm has no effect: its gradient is rounding noise, here as there.
            if np.abs(right).max() < 1e-5 * largest:
                assert np.abs(gradient).max() < 1e-4 * largest
                continue
            assert np.linalg.norm(gradient - right) <= 1e-3 * np.linalg.norm(right), variable.path
            # Adam's first step is the gradient's sign, which rounding decides where the gradient is tiny.
            clear = np.abs(right) > 1e-3 * np.abs(right).max()
            np.testing.assert_allclose(variable.numpy()[clear], weight[clear], atol=2e-6, err_msg=variable.path)
            np.testing.assert_allclose(variable, weight, atol=4.1e-4)  # twice the learning rate
    assert recorded == []


@pytest.mark.parametrize("cycle", ["cycle_a", "cycle_b"])
def test_each_cycle_loss_reaches_both_generators(cycle):
    """The well-known Keras example drops one half of it."""
    model = CycleGAN(
        SIZE,
        generator_options={"filters": 4, "blocks": 1},
        discriminator_options={"filters": 4, "downsamplings": 2},
    )
    a, b = (images[:2] for images in photographs())
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_mean(model.generator_losses(a, b, training=True)[0][cycle])
    for generator in (model.generator_a2b, model.generator_b2a):
        kernels = [w for w in generator.trainable_variables if w.name == "kernel"]
        slopes = tape.gradient(loss, kernels)
        assert all(slope is not None and np.abs(slope).max() > 0 for slope in slopes), generator.name
