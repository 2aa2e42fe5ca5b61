"""Random sampling of the latent space: the VAE's prior, with a temperature."""

from typing import Any, Self

import numpy as np

from kerasgen.errors import UserError
from kerasgen.samplers.base import Sampler, Samples, means_of


class PriorSampler(Sampler):
    """z ~ N(0, temperature² I), whatever the data.

    Args:
        latent_dim: size of z; None takes it from `fit`.
        temperature: 1 is the prior that the VAE was trained with; less gives more typical pictures, more gives
            more varied ones.
    """

    def __init__(self, latent_dim: int | None = None, temperature: float = 1.0):
        super().__init__()
        if not temperature > 0:
            raise UserError(f"temperature is {temperature}, but a positive number is needed.")
        self.latent_dim, self.temperature = latent_dim, float(temperature)

    def fit(self, latents: Any, labels: Any = None) -> Self:
        """Take the latents' dimension, and nothing else."""
        self.latent_dim = means_of(latents).shape[1]
        return self

    def sample(self, n: int, seed: int | None = None) -> Samples:
        shape = (n, self._require_fit())
        # At temperature 1 this is, number by number, what `VAE.generate(n, seed=seed)` draws.
        z = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * np.float32(self.temperature)
        return Samples(z, self.log_prob(z), [f"prior, temperature {self.temperature:g}"] * n)

    def log_prob(self, z: Any) -> np.ndarray:
        scaled = self._checked(z) / self.temperature
        constant = np.log(2 * np.pi) + 2 * np.log(self.temperature)
        return -0.5 * (np.sum(scaled**2, axis=1) + constant * scaled.shape[1])

    def config(self) -> dict[str, Any]:
        return {"temperature": self.temperature}
