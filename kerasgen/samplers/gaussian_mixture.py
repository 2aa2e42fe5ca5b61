"""A mixture of Gaussians, fitted by scikit-learn."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from kerasgen import values
from kerasgen.errors import UserError
from kerasgen.samplers.attributes import Attributes
from kerasgen.samplers.base import moments_of
from kerasgen.samplers.mixture import MixtureSampler
from kerasgen.typing import Tensor

_LARGEST = 20_000  # latents that EM sees: more cost time and move no component of 50 noticeably


if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture


class GaussianMixtureSampler(MixtureSampler):
    """Gaussians with full covariances by expectation–maximization (scikit-learn), whatever the labels.

    Fitted to one posterior sample of each picture. Labels and attributes, if given, are counted in each component by
    its responsibilities, so that `where` weighs the components.

    Args:
        components: how many; None takes the number in `candidates` with the best likelihood of a held-out fifth.
        candidates: numbers to choose from.
        seed: of the posterior samples, the held-out fifth and EM's start.
        temperature: see `Sampler`.

    Raises:
        UserError: an argument is out of range.

    Example:
        latents = np.random.default_rng(0).standard_normal((200, 4))
        z = GaussianMixtureSampler().fit(latents).sample(16, seed=0).z  # [16, 4]
    """

    def __init__(
        self,
        components: int | None = None,
        candidates: Sequence[int] = (1, 2, 5, 10, 15, 20, 30),
        seed: int = 0,
        temperature: float = 1.0,
    ):
        super().__init__(temperature)
        for number in [*candidates, *[components] * (components is not None)]:
            values.whole("components", number)
        values.seed("seed", seed)
        self.components, self.candidates, self.seed = components, tuple(candidates), seed

    def fit(self, latents: Tensor, labels: Tensor = None, attributes: Mapping[str, Tensor] | None = None) -> Self:
        mean, variance = moments_of(latents)
        table = Attributes.of(len(mean), labels, attributes)
        least = max(self.components or 1, 2)
        if len(mean) < least:
            raise UserError(f"{len(mean)} latents were given, but a mixture of {self.components or 1} needs {least}.")
        rng = np.random.default_rng(self.seed)
        z = mean + np.sqrt(variance) * rng.standard_normal(mean.shape)
        drawn = z[rng.permutation(len(z))[:_LARGEST]]
        best = self._fitted(self.components or self._best_number(drawn), drawn)
        responsibilities = best.predict_proba(z)
        parts = [f"component {k + 1} of {best.n_components}" for k in range(best.n_components)]
        self._set(best.weights_, best.means_, best.covariances_, parts, table, table.tables(responsibilities))
        return self

    def _best_number(self, z: np.ndarray) -> int:
        if len(z) == 2:  # with one held out, one is left, which no mixture is fitted to
            return 1
        held_out, rest = np.split(z, [max(1, len(z) // 5)])
        # Fewer than two latents for each dimension of a component would fit noise, and cost time.
        numbers = [k for k in self.candidates if k == 1 or k * 2 * z.shape[1] <= len(rest)] or [1]
        return max(numbers, key=lambda k: self._fitted(k, rest).score(held_out))

    def _fitted(self, components: int, z: np.ndarray) -> "GaussianMixture":
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        # A ridge of a thousandth of the mean variance keeps components of few latents from collapsing.
        ridge = 1e-3 * float(z.var(axis=0).mean()) + 1e-9
        mixture = GaussianMixture(components, reg_covar=ridge, random_state=self.seed, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return mixture.fit(z)

    def config(self) -> dict[str, object]:
        own = {"components": self.components, "candidates": self.candidates, "seed": self.seed}
        return {**super().config(), **own}
