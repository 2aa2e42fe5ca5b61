"""What every sampler of a latent space shares."""

import json
import os
from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from kerasgen import values
from kerasgen.errors import UserError
from kerasgen.files import atomic_write
from kerasgen.typing import Tensor


class Samples:
    """Latents and where they came from.

    Attributes:
        z: float32 [n, latent_dim].
        component: int64 [n], which part of the density each z came from, such as a tree's leaf.
        origin: n short texts, such as the rule of a tree's leaf.
    """

    def __init__(
        self,
        sampler: "Sampler",
        z: np.ndarray,
        component: np.ndarray,
        origin: list[str],
        where: Mapping[str, int] | None = None,
    ):
        self._sampler, self._where = sampler, where
        self._log_prob: np.ndarray | None = None
        self.z, self.component, self.origin = z, component, origin

    @property
    def log_prob(self) -> np.ndarray:
        """Log-density in nats of each z under the sampler, given the evidence it was drawn for: float64 [n].

        It is computed when it is first asked for, because a mixture of all training pictures takes a while.
        """
        if self._log_prob is None:
            self._log_prob = self._sampler.log_prob(self.z, self._where)
        return self._log_prob


@runtime_checkable
class Moments(Protocol):
    """Diagonal Gaussians, such as `VAE.encode` gives: `mean` and `log_var`, [n, latent_dim] each."""

    mean: np.ndarray
    log_var: np.ndarray


class Sampler:
    """A density over latents: `fit`, `sample`, `log_prob`, `save`, `load`.

    A subclass lists its constructor arguments in `config` and what `fit` found, as arrays, in `state`.

    Attributes:
        needs_data: whether it must be fitted to training pictures.
        knows_labels: whether it can be asked for a label or for attributes.
        explains: whether the `origin` of each latent is a rule worth reading, which `plot` draws.

    Args:
        temperature: factor of the standard deviation of each Gaussian that latents are drawn from; less than 1
            gives more typical pictures, more than 1 more varied ones.

    Raises:
        UserError: the temperature is not positive.
    """

    needs_data: ClassVar[bool] = True
    knows_labels: ClassVar[bool] = True
    explains: ClassVar[bool] = False

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = values.number("temperature", temperature, above=0)
        self.latent_dim: int | None = None

    def fit(self, latents: Tensor, labels: Tensor = None, attributes: Mapping[str, Tensor] | None = None) -> Self:
        """Fit to latents [n, latent_dim], or to a posterior with `mean` and `log_var` of that shape.

        Args:
            latents: a posterior (as `VAE.encode` gives) is better than its means: these spread less than what the
                decoder was trained on.
            labels: a class for each, integers [n].
            attributes: further integers [n], by name, such as {"smiling": [0, 1, …]}.

        Raises:
            UserError: the latents are not finite numbers of that shape, or labels or attributes don't fit them.
        """
        raise NotImplementedError

    @classmethod
    def of_dimension(cls, latent_dim: int, temperature: float = 1.0) -> Self:
        """Make a sampler that needs no data, for latents of this size.

        Raises:
            UserError: it needs data.
        """
        raise UserError(f"A {cls.__name__} is fitted to training pictures: give their source.")

    def sample(self, n: int, seed: int | None = None, where: Mapping[str, int] | None = None) -> Samples:
        """Draw n latents; the same seed draws the same ones.

        Args:
            n: how many.
            seed: None draws others each time.
            where: evidence such as {"label": 3} or {"smiling": 1, "male": 0}; what it leaves out is marginalized.

        Raises:
            UserError: the sampler is not fitted, n is less than 1, or the evidence is unknown to it.
        """
        raise NotImplementedError

    def log_prob(self, z: Tensor, where: Mapping[str, int] | None = None) -> np.ndarray:
        """Log-density of latents [n, latent_dim] in nats, given the evidence: float64 [n]."""
        raise NotImplementedError

    def plot(self, path: str | os.PathLike, decode: Callable[[np.ndarray], Tensor]) -> None:
        """Draw what the rules of `origin` say, for a sampler that `explains`, as PNG.

        Args:
            path: of the PNG.
            decode: from latents [n, latent_dim] to pictures.
        """
        raise NotImplementedError(f"A {type(self).__name__} has no rules to draw.")

    def config(self) -> dict[str, object]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {"temperature": self.temperature}

    def state(self) -> dict[str, np.ndarray]:
        """Return what `fit` found; `restore` takes it back."""
        return {"latent_dim": np.asarray(self.latent_dim)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what `state` gave."""
        self.latent_dim = int(state["latent_dim"])

    def save(self, path: str | os.PathLike) -> None:
        """Write configuration and fit to one .npz file, without pickle; `load_sampler` reads it.

        Raises:
            UserError: the sampler is not fitted, or the path can't be written.
        """
        self._require_fit()
        header = json.dumps({"sampler": type(self).__name__, "config": self.config()})
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, header=np.asarray(header), **self.state())

    def _require_fit(self) -> int:
        if self.latent_dim is None:
            raise UserError(
                f"This {type(self).__name__} is not fitted: call fit(latents) first, or give it a latent_dim."
            )
        return self.latent_dim

    def _require_count(self, n: int, seed: int | None) -> tuple[int, int]:
        """Return the shape [n, latent_dim] of n latents, if they can be drawn."""
        if seed is not None:
            values.seed("seed", seed)
        return values.whole("n", n), self._require_fit()

    def _refuse_evidence(self, where: Mapping[str, int] | None) -> None:
        if where:
            raise UserError(
                f"A {type(self).__name__} knows no labels or attributes, but where={dict(where)} was given: use "
                "decision_tree, class_gaussian, gaussian_mixture or posterior."
            )

    def _checked(self, z: Tensor) -> np.ndarray:
        z = np.asarray(z, np.float64)
        if z.ndim != 2 or z.shape[1] != self._require_fit():
            raise UserError(f"z has the shape {z.shape}, but [n, {self.latent_dim}] is needed.")
        return z


def means_of(latents: Tensor) -> np.ndarray:
    """Latents as float64 [n, latent_dim]: an array, or the means of a posterior.

    Raises:
        UserError: they have another shape, are empty or hold NaN or infinity.
    """
    return moments_of(latents)[0]


def moments_of(latents: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of latents, float64 [n, latent_dim] each; the variances of a plain array are 0.

    Raises:
        UserError: they have another shape, are empty or hold NaN or infinity.
    """
    posterior = isinstance(latents, Moments)
    mean = np.asarray(latents.mean if posterior else latents, np.float64)
    if mean.ndim != 2 or not len(mean):
        raise UserError(f"The latents have the shape {mean.shape}, but [n, latent_dim] with n ≥ 1 is needed.")
    variance = np.exp(np.asarray(latents.log_var, np.float64)) if posterior else np.zeros_like(mean)
    if variance.shape != mean.shape:
        raise UserError(f"The means have the shape {mean.shape}, but the log-variances {variance.shape}.")
    bad = ~np.isfinite(mean + variance).all(axis=1)
    if bad.any():
        raise UserError(
            f"{bad.sum()} of {len(mean)} latents hold NaN or infinity: "
            "leave them out, or look why the encoder makes them."
        )
    return mean, variance
