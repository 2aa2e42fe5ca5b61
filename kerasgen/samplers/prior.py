"""Random sampling of the latent space: the VAE's prior, with a temperature."""

from collections.abc import Mapping
from typing import Self

import numpy as np

from kerasgen.samplers.base import Sampler, Samples, means_of
from kerasgen.typing import Tensor


class PriorSampler(Sampler):
    """z ~ N(0, temperature² I), whatever the data.

    Args:
        latent_dim: size of z; None takes it from `fit`.
        temperature: 1 is the prior that the VAE was trained with; less gives more typical pictures, more gives
            more varied ones.

    Example:
        z = PriorSampler().fit(np.zeros((10, 4))).sample(16, seed=0).z  # [16, 4]
    """

    needs_data = False
    knows_labels = False

    def __init__(self, latent_dim: int | None = None, temperature: float = 1.0):
        super().__init__(temperature)
        self.latent_dim = latent_dim

    @classmethod
    def of_dimension(cls, latent_dim: int, temperature: float = 1.0) -> Self:
        return cls(latent_dim, temperature)

    def fit(self, latents: Tensor, labels: Tensor = None, attributes: Mapping[str, Tensor] | None = None) -> Self:
        """Take the latents' dimension, and nothing else."""
        self.latent_dim = means_of(latents).shape[1]
        return self

    def sample(self, n: int, seed: int | None = None, where: Mapping[str, int] | None = None) -> Samples:
        shape = self._require_count(n, seed)
        self._refuse_evidence(where)
        # At temperature 1 this is, number by number, what `VAE.generate(n, seed=seed)` draws.
        z = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * np.float32(self.temperature)
        return Samples(self, z, np.zeros(n, np.int64), [f"prior, temperature {self.temperature:g}"] * n)

    def log_prob(self, z: Tensor, where: Mapping[str, int] | None = None) -> np.ndarray:
        self._refuse_evidence(where)
        scaled = self._checked(z) / self.temperature
        constant = np.log(2 * np.pi) + 2 * np.log(self.temperature)
        return -0.5 * (np.sum(scaled**2, axis=1) + constant * scaled.shape[1])
