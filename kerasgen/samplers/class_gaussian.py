"""One Gaussian for each class."""

from collections.abc import Mapping
from typing import Self

import numpy as np

from kerasgen import values
from kerasgen.samplers.attributes import Attributes
from kerasgen.samplers.base import moments_of
from kerasgen.samplers.gaussians import Moments
from kerasgen.samplers.mixture import MixtureSampler
from kerasgen.typing import Tensor


class ClassGaussianSampler(MixtureSampler):
    """One Gaussian with a full covariance for each combination of label and attributes that occurs.

    Its moments are those of posterior samples (law of total variance). A covariance is shrunk towards that of all
    latents, so that few pictures are enough: (n S + shrinkage · S_all) / (n + shrinkage).

    Args:
        shrinkage: pictures' worth of the whole's covariance in each class's.
        temperature: see `Sampler`.

    Raises:
        UserError: an argument is out of range.

    Example:
        latents = np.random.default_rng(0).standard_normal((200, 4))
        sampler = ClassGaussianSampler().fit(latents, labels=np.arange(200) % 2)
        z = sampler.sample(16, seed=0, where={"label": 1}).z  # [16, 4]
    """

    def __init__(self, shrinkage: float = 20.0, temperature: float = 1.0):
        super().__init__(temperature)
        self.shrinkage = values.number("shrinkage", shrinkage, above=0)

    def fit(self, latents: Tensor, labels: Tensor = None, attributes: Mapping[str, Tensor] | None = None) -> Self:
        mean, variance = moments_of(latents)
        table = Attributes.of(len(mean), labels, attributes)
        combinations, place = np.unique(table.codes, axis=0, return_inverse=True)
        members = np.eye(len(combinations), dtype=bool)[place.reshape(-1)]
        moments = [Moments.of(mean[m], variance[m]) for m in members.T]
        whole = Moments.of(mean, variance).scatter / len(mean)
        # A thousandth of the diagonal keeps the Cholesky factor of a degenerate space.
        whole += 1e-3 * np.diag(np.diagonal(whole)) + 1e-9 * np.eye(len(whole))
        covariances = np.stack([m.shrunk(whole, self.shrinkage) for m in moments])
        parts = [
            table.text({n: v[c] for n, v, c in zip(table.names, table.values, row, strict=True)}) or "all pictures"
            for row in combinations
        ]
        means = np.stack([m.mean for m in moments])
        # No smoothing: each part is one combination by definition.
        tables = table.tables(members.astype(np.float64), pseudo_count=0.0)
        self._set(members.mean(axis=0), means, covariances, parts, table, tables)
        return self

    def config(self) -> dict[str, object]:
        return {**super().config(), "shrinkage": self.shrinkage}
