"""Mixtures of Gaussians with full covariances, whose parts know labels and attributes."""

from collections.abc import Mapping

import numpy as np

from kerasgen.errors import UserError
from kerasgen.samplers.attributes import Attributes, likelihood_of
from kerasgen.samplers.base import Sampler, Samples
from kerasgen.samplers.gaussians import choose, full_log_density, log_sum_exp, spread
from kerasgen.typing import Tensor


class MixtureSampler(Sampler):
    """p(z, a) = Σ_k weight_k · p_k(a) · N(z; mean_k, temperature² · covariance_k); a subclass fits it."""

    def __init__(self, temperature: float = 1.0):
        super().__init__(temperature)
        self._arrays: dict[str, np.ndarray] = {}

    def _set(
        self,
        weights: np.ndarray,
        means: np.ndarray,
        covariances: np.ndarray,
        parts: list[str],
        attributes: Attributes,
        tables: list[np.ndarray],
    ) -> None:
        self.latent_dim = means.shape[1]
        self._arrays = {"weights": weights, "means": means, "covariances": covariances, "parts": np.asarray(parts)}
        self._attributes, self._tables = attributes, tables

    def sample(self, n: int, seed: int | None = None, where: Mapping[str, int] | None = None) -> Samples:
        shape = self._require_count(n, seed)
        rng = np.random.default_rng(seed)
        part = choose(self._part_weights(where), n, rng)
        noise = self.temperature * rng.standard_normal(shape)
        z = self._arrays["means"][part] + spread(noise, part, self._arrays["covariances"])
        return Samples(self, z.astype(np.float32), part, [str(self._arrays["parts"][k]) for k in part], where)

    def log_prob(self, z: Tensor, where: Mapping[str, int] | None = None) -> np.ndarray:
        z = self._checked(z)
        weights = self._part_weights(where)
        used = weights > 0
        covariances = self.temperature**2 * self._arrays["covariances"][used]
        density = full_log_density(z, self._arrays["means"][used], covariances)
        return log_sum_exp(density + np.log(weights[used] / weights.sum()))

    def _part_weights(self, where: Mapping[str, int] | None) -> np.ndarray:
        evidence = self._attributes.evidence(where)
        if not self._attributes.matching(evidence).any():
            raise UserError(
                f"No picture that the sampler was fitted to has {self._attributes.text(where)} together: leave "
                "one of them out."
            )
        weights = self._arrays["weights"]
        return weights * likelihood_of(evidence, self._tables, len(weights))

    def state(self) -> dict[str, np.ndarray]:
        tables = {f"table_{i}": table for i, table in enumerate(self._tables)}
        return {**super().state(), **self._arrays, **self._attributes.state(), **tables}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        super().restore(state)
        self._arrays = {name: state[name] for name in ("weights", "means", "covariances", "parts")}
        self._attributes = Attributes.restored(state)
        self._tables = [state[f"table_{i}"] for i in range(len(self._attributes.names))]
