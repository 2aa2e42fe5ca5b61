"""Losses as per-example tensors of shape [batch]: no reduction over the batch is hidden in them.

All are computed in float32 whatever the precision of the networks, and use `keras.ops` alone.
"""

import math

from keras import ops

LOG_VAR_RANGE = (-30.0, 20.0)


def _sum_per_example(values):
    return ops.sum(ops.reshape(values, (ops.shape(values)[0], -1)), axis=-1)


def bernoulli_nll(images, logits):
    """Negative log-likelihood of images under independent Bernoulli pixels, in nats.

    Exact for binary images; for gray levels it is the usual cross entropy, which is not a density (so no
    bits/dim can be made from it) and whose least value is the pixels' own entropy, not 0.

    Args:
        images: [batch, ...] in [0, 1].
        logits: [batch, ...], the log-odds of each pixel.

    Returns:
        float32 [batch], summed over pixels and channels.
    """
    images, logits = ops.cast(images, "float32"), ops.cast(logits, "float32")
    # softplus(l) − x·l, which neither overflows nor takes the logarithm of 0.
    return _sum_per_example(ops.softplus(logits) - images * logits)


def gaussian_nll(images, mean, log_sigma):
    """Negative log-density of images under N(mean, sigma²) in each pixel, in nats; it can be negative.

    Args:
        images: [batch, ...] in [0, 1].
        mean: [batch, ...], the decoder's picture.
        log_sigma: a scalar, the logarithm of the pixels' standard deviation.

    Returns:
        float32 [batch], summed over pixels and channels.
    """
    images, mean = ops.cast(images, "float32"), ops.cast(mean, "float32")
    log_sigma = ops.cast(log_sigma, "float32")
    scaled = (images - mean) * ops.exp(-log_sigma)
    return _sum_per_example(0.5 * scaled * scaled + log_sigma + 0.5 * math.log(2 * math.pi))


def squared_error(images, mean):
    """Mean squared error over an example's pixels: float32 [batch]."""
    difference = ops.cast(images, "float32") - ops.cast(mean, "float32")
    return ops.mean(ops.reshape(difference * difference, (ops.shape(difference)[0], -1)), axis=-1)


def gradient_error(images, mean):
    """Mean absolute error of the differences between neighboring pixels: 0 where what is flat stays flat.

    Its best answer where the truth is uncertain is the median of the differences, which is 0 unless an edge is
    likely: no clouds where the mean absolute error alone would draw them (Mathieu et al. 2016, 1511.05440, with
    power 1).

    Args:
        images: [batch, height, width, channels], at least two pixels high and wide.
        mean: [batch, height, width, channels], the prediction.

    Returns:
        float32 [batch]: the mean over vertical neighbors plus that over horizontal ones.
    """
    error = ops.cast(images, "float32") - ops.cast(mean, "float32")
    down, right = error[:, 1:] - error[:, :-1], error[:, :, 1:] - error[:, :, :-1]
    return ops.mean(ops.abs(down), axis=(1, 2, 3)) + ops.mean(ops.abs(right), axis=(1, 2, 3))


def gaussian_kl(z_mean, z_log_var):
    """KL(N(z_mean, exp(z_log_var)) ‖ N(0, 1)) of each latent dimension, in nats.

    Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), appendix B.

    Args:
        z_mean, z_log_var: [batch, latent_dim]; log-variances are clipped to [-30, 20] first.

    Returns:
        float32 [batch, latent_dim]: sum over the last axis for the KL of an example.
    """
    z_mean = ops.cast(z_mean, "float32")
    z_log_var = ops.clip(ops.cast(z_log_var, "float32"), *LOG_VAR_RANGE)
    # Not z_mean * z_mean: with sampling's, its gradient would be a sum of three, which TensorFlow adds in the order
    # in which their memory comes free, so that the last bit would vary from run to run.
    return 0.5 * (ops.square(z_mean) + ops.exp(z_log_var) - 1.0 - z_log_var)


def absolute_error(images, others):
    """Mean absolute error over an example's pixels: float32 [batch]."""
    return _mean_per_example(ops.abs(ops.cast(images, "float32") - ops.cast(others, "float32")))


# The discriminator's loss when it gives its best single answer to everything; a critic's distance has no such number.
CHANCE = {"lsgan": 0.25, "vanilla": math.log(2.0)}


def adversarial_generator_loss(logits, kind: str):
    """How far a discriminator is from taking generated images for real ones.

    Args:
        logits: [batch, ...], the discriminator's answer to generated images.
        kind: "lsgan" (Mao et al. 2017, 1611.04076), "vanilla" (the non-saturating cross entropy of Goodfellow
            et al. 2014, 1406.2661) or "wgan_gp" (Gulrajani et al. 2017, 1704.00028).

    Returns:
        float32 [batch], the mean over the patches.
    """
    logits = ops.cast(logits, "float32")
    if kind == "lsgan":
        return _mean_per_example(ops.square(logits - 1.0))
    return _mean_per_example(ops.softplus(-logits) if kind == "vanilla" else -logits)


def adversarial_discriminator_loss(real_logits, fake_logits, kind: str):
    """How far a discriminator is from telling real and generated images apart.

    "lsgan" and "vanilla" are halved, as CycleGAN does to slow the discriminator down; "wgan_gp" is the critic's
    loss without the gradient penalty, which needs a gradient and is added by the model.

    Args:
        real_logits, fake_logits: [batch, ...], answers to real and to generated images.
        kind: as in `adversarial_generator_loss`.

    Returns:
        float32 [batch], the mean over the patches.
    """
    real, fake = ops.cast(real_logits, "float32"), ops.cast(fake_logits, "float32")
    if kind == "lsgan":
        return 0.5 * (_mean_per_example(ops.square(real - 1.0)) + _mean_per_example(ops.square(fake)))
    if kind == "vanilla":
        return 0.5 * (_mean_per_example(ops.softplus(-real)) + _mean_per_example(ops.softplus(fake)))
    return _mean_per_example(fake) - _mean_per_example(real)


def _mean_per_example(values):
    return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=-1)
