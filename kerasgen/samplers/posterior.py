"""Sampling near given pictures ("VAE sampling"), and directions between kinds of pictures."""

from collections.abc import Mapping
from typing import Self

import numpy as np

from kerasgen.errors import UserError
from kerasgen.samplers.attributes import Attributes
from kerasgen.samplers.base import Sampler, Samples, means_of, moments_of
from kerasgen.samplers.gaussians import kernel_log_density
from kerasgen.typing import Tensor


class PosteriorSampler(Sampler):
    """The mixture of the posteriors of given pictures: z ~ N(mean_i, temperature² · variance_i), i at random.

    Fitted to the posterior of one picture it samples that picture's neighborhood, whose size is the temperature.
    Its pictures lie close to those given: look at `metrics.nearest_distances` beside them.

    Args:
        temperature: the scale of the neighborhood, in posterior standard deviations.
    """

    def fit(self, latents: Tensor, labels: Tensor = None, attributes: Mapping[str, Tensor] | None = None) -> Self:
        mean, variance = moments_of(latents)
        if not (variance > 0).all():
            raise UserError(
                "The latents have no variances, but a PosteriorSampler samples around pictures by theirs: "
                "give the posterior, vae.encode(images), rather than an array."
            )
        self._attributes = Attributes.of(len(mean), labels, attributes)
        self._mean, self._variance, self.latent_dim = mean, variance, mean.shape[1]
        return self

    def sample(self, n: int, seed: int | None = None, where: Mapping[str, int] | None = None) -> Samples:
        shape = self._require_count(n, seed)
        rng = np.random.default_rng(seed)
        member = rng.choice(self._members(where), n)
        noise = self.temperature * rng.standard_normal(shape)
        z = self._mean[member] + np.sqrt(self._variance[member]) * noise
        return Samples(self, z.astype(np.float32), member, [f"near picture {i}" for i in member], where)

    def log_prob(self, z: Tensor, where: Mapping[str, int] | None = None) -> np.ndarray:
        z, members = self._checked(z), self._members(where)
        weight = np.full(len(members), -np.log(len(members)))
        scales = np.array([self.temperature**2])
        return kernel_log_density(z, self._mean[members], self._variance[members], scales, weight)[0]

    def _members(self, where: Mapping[str, int] | None) -> np.ndarray:
        (members,) = np.nonzero(self._attributes.matching(self._attributes.evidence(where)))
        if not len(members):
            raise UserError(f"No picture has {self._attributes.text(where)} together: leave one of them out.")
        return members

    def state(self) -> dict[str, np.ndarray]:
        return {**super().state(), "mean": self._mean, "variance": self._variance, **self._attributes.state()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        super().restore(state)
        self._mean, self._variance = state["mean"], state["variance"]
        self._attributes = Attributes.restored(state)


def attribute_directions(latents: Tensor, attributes: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return the way through latent space along which an attribute appears: add multiples of it to a picture's z.

    It is the coefficient vector of a least-squares fit of the latents to all attributes at once, so that attributes
    which often occur together ("beard" and "male") are told apart; alone, it is the difference of the means with
    and without the attribute (White 2016, 1609.04468).

    Args:
        latents: [n, latent_dim], or a posterior.
        attributes: by name, [n] integers 0 or 1.

    Returns:
        By name, float32 [latent_dim]: what a step from 0 to 1 moves.

    Raises:
        UserError: an attribute is not 0 or 1 for each, or is the same for all.
    """
    mean = means_of(latents)
    columns = [np.asarray(column, np.float64) for column in attributes.values()]
    for name, column in zip(attributes, columns, strict=True):
        if column.shape != (len(mean),) or set(np.unique(column)) != {0.0, 1.0}:
            raise UserError(f"{name!r} needs a 0 or a 1 for each of the {len(mean)} latents, and both among them.")
    design = np.stack([np.ones(len(mean)), *columns], axis=1)
    coefficients = np.linalg.lstsq(design, mean, rcond=None)[0][1:]
    return dict(zip(attributes, coefficients.astype(np.float32), strict=True))
