"""Bounds on a VAE's likelihood."""

import numpy as np

from kerasgen.errors import UserError
from kerasgen.typing import Tensor


def iwae_bound(log_weights: Tensor) -> np.ndarray:
    """log (1/K Σ_k w_k) of each example, in nats: float64 [n].

    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (2016, 1509.00519). At least the mean of the
    log-weights, which is an ELBO estimate from the same samples; its expectation grows with K towards log p(x).

    Args:
        log_weights: [n, K], log p(x, z_k) − log q(z_k | x), as `VAE.log_weights` gives.
    """
    log_weights = np.asarray(log_weights, np.float64)
    top = log_weights.max(axis=1, keepdims=True)
    return np.log(np.mean(np.exp(log_weights - top), axis=1)) + top[:, 0]


def bits_per_dim(log_likelihood: float, images: Tensor) -> float:
    """−log₂ p(x) for each pixel and channel, of a Bernoulli likelihood.

    Args:
        log_likelihood: or a bound, in nats: the mean over the images.
        images: [n, height, width, channels]; black and white alone.

    Raises:
        UserError: there are gray levels, of which a Bernoulli likelihood is not a probability.
    """
    images = np.asarray(images)
    if not np.isin(images, (0, 1)).all():
        raise UserError(
            "Bits per dimension were asked for images with gray levels, of which a Bernoulli likelihood is not a "
            "probability: give images of 0 and 1, or compare the ELBO."
        )
    return float(-log_likelihood / (np.log(2) * images[0].size))
