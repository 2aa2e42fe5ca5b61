"""What every sampler of a latent space shares."""

import json
import os
from typing import Any, NamedTuple, Self

import numpy as np

from kerasgen.errors import UserError
from kerasgen.files import atomic_write


class Samples(NamedTuple):
    """Latents and where they came from.

    Attributes:
        z: float32 [n, latent_dim].
        log_prob: float64 [n], the log-density of each z under the sampler, in nats.
        origin: n short texts, such as the rule of a tree's leaf.
    """

    z: np.ndarray
    log_prob: np.ndarray
    origin: list[str]


class Sampler:
    """A density over latents: `fit`, `sample`, `log_prob`, `save`, `load`.

    A subclass lists its constructor arguments in `config` and what `fit` found, as arrays, in `state`.
    """

    def __init__(self) -> None:
        self.latent_dim: int | None = None

    def fit(self, latents: Any, labels: Any = None) -> Self:
        """Fit to latents [n, latent_dim], or to a posterior with `mean` and `log_var` of that shape.

        Raises:
            UserError: the latents are not finite numbers of that shape.
        """
        raise NotImplementedError

    def sample(self, n: int, seed: int | None = None) -> Samples:
        """Draw n latents; the same seed draws the same ones."""
        raise NotImplementedError

    def log_prob(self, z: Any) -> np.ndarray:
        """Log-density of latents [n, latent_dim] in nats, float64 [n]."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        return {}

    def state(self) -> dict[str, np.ndarray]:
        """What `fit` found; `restore` takes it back."""
        return {"latent_dim": np.asarray(self.latent_dim)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what `state` gave."""
        self.latent_dim = int(state["latent_dim"])

    def save(self, path: str | os.PathLike) -> None:
        """Write configuration and fit to one .npz file, without pickle.

        Raises:
            UserError: the sampler is not fitted, or the path can't be written.
        """
        self._require_fit()
        header = json.dumps({"sampler": type(self).__name__, "config": self.config()})
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, header=np.asarray(header), **self.state())

    def _require_fit(self) -> int:
        if self.latent_dim is None:
            raise UserError(
                f"This {type(self).__name__} is not fitted: call fit(latents) first, or give it a latent_dim."
            )
        return self.latent_dim

    def _checked(self, z: Any) -> np.ndarray:
        z = np.asarray(z, np.float64)
        if z.ndim != 2 or z.shape[1] != self._require_fit():
            raise UserError(f"z has the shape {z.shape}, but [n, {self.latent_dim}] is needed.")
        return z


def means_of(latents: Any) -> np.ndarray:
    """Latents as float64 [n, latent_dim]: an array, or the means of a posterior.

    Raises:
        UserError: they have another shape, are empty or hold NaN or infinity.
    """
    z = np.asarray(getattr(latents, "mean", latents) if hasattr(latents, "log_var") else latents, np.float64)
    if z.ndim != 2 or not len(z):
        raise UserError(f"The latents have the shape {z.shape}, but [n, latent_dim] with n ≥ 1 is needed.")
    if not np.isfinite(z).all():
        raise UserError(
            f"{np.sum(~np.isfinite(z).all(axis=1))} of {len(z)} latents hold NaN or infinity: "
            "leave them out, or look why the encoder makes them."
        )
    return z
