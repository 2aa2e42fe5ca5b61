"""The two models that the checks train, their batches, and what a step of theirs costs."""

import keras
import numpy as np
import tensorflow as tf
from vae_epoch import mnist_networks

from gpu_checks.sizes import Sizes
from kerasgen.models import VAE, CycleGAN, GenerativeModel
from kerasgen.networks.macs import macs

LATENT_DIM = 16


def made(name: str, sizes: Sizes) -> GenerativeModel:
    """The paper's CycleGAN, or a VAE with pythae's networks for MNIST; its weights are the same in each process."""
    keras.utils.set_random_seed(0)
    if name == "cyclegan":
        filters = {"filters": sizes.filters}
        generators = {"blocks": sizes.blocks, **filters}
        return CycleGAN(sizes.pixels, generator_options=generators, discriminator_options=filters)
    encoder, decoder = mnist_networks(LATENT_DIM, sizes.vae_width)
    return VAE((28, 28, 1), LATENT_DIM, encoder=encoder, decoder=decoder)


def compiled(model: GenerativeModel, make_optimizer=None) -> GenerativeModel:
    """Compile with as many optimizers as the model has: Adam, or those of a function."""
    if isinstance(model, CycleGAN):
        model.compile(*([make_optimizer(), make_optimizer()] if make_optimizer else []))
    else:
        model.compile(make_optimizer() if make_optimizer else "adam")
    return model


def batch(name: str, sizes: Sizes) -> dict[str, np.ndarray]:
    """Random pictures, the same in each process."""
    random = np.random.default_rng(0)
    if name == "cyclegan":
        shape = (1, sizes.pixels, sizes.pixels, 3)
        return {domain: random.uniform(-1, 1, shape).astype("float32") for domain in ("a", "b")}
    return {"image": random.random((sizes.vae_batch, 28, 28, 1), dtype=np.float32)}


def operations(name: str, sizes: Sizes, model: GenerativeModel) -> float:
    """Floating-point operations of a step: products alone; backward counts twice what forward does."""
    if name == "cyclegan":
        # As `cyclegan_step.step_operations` counts: six translations, and two discriminators of which each judges
        # three pictures, one of them without learning.
        each = [macs(network, sizes.pixels, sizes.pixels) for network in (model.generator_a2b, model.discriminator_a)]
        return 2.0 * (18 * each[0] + 16 * each[1])
    once = sum(macs(network, 28, 28) for network in (model.encoder, model.decoder))
    return 2.0 * 3 * once * sizes.vae_batch


def repeated(examples: dict[str, np.ndarray]) -> tf.data.Dataset:
    """The same batch for ever."""
    return tf.data.Dataset.from_tensors(examples).repeat().prefetch(2)
