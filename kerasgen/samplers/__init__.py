"""Densities over a VAE's latent space; all share `fit`, `sample`, `log_prob`, `save` and `load`."""

import os

import numpy as np

from kerasgen.errors import UserError
from kerasgen.samplers.base import Sampler, Samples
from kerasgen.samplers.class_gaussian import ClassGaussianSampler
from kerasgen.samplers.decision_tree import DecisionTreeSampler
from kerasgen.samplers.gaussian_mixture import GaussianMixtureSampler
from kerasgen.samplers.posterior import PosteriorSampler, attribute_directions
from kerasgen.samplers.prior import PriorSampler
from kerasgen.samplers.two_stage import TwoStageSampler
from kerasgen.untrusted import Fault, bounded_weights, check_finite, read_npz, reading

_MOST_DIMENSIONS = 100_000

SAMPLERS: dict[str, type[Sampler]] = {
    "prior": PriorSampler,
    "posterior": PosteriorSampler,
    "class_gaussian": ClassGaussianSampler,
    "gaussian_mixture": GaussianMixtureSampler,
    "decision_tree": DecisionTreeSampler,
    "two_stage": TwoStageSampler,
}

__all__ = [
    "SAMPLERS",
    "ClassGaussianSampler",
    "DecisionTreeSampler",
    "GaussianMixtureSampler",
    "PosteriorSampler",
    "PriorSampler",
    "Sampler",
    "Samples",
    "TwoStageSampler",
    "attribute_directions",
    "find_sampler",
    "load_sampler",
]


def find_sampler(name: str) -> type[Sampler]:
    """Return the sampler's class of that name.

    Raises:
        UserError: there is none.

    Example:
        sampler = find_sampler("prior")()
    """
    if name not in SAMPLERS:
        raise UserError(f"There is no sampler {name!r}: choose one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def load_sampler(path: str | os.PathLike) -> Sampler:
    """Read a sampler that `Sampler.save` wrote, of whichever class.

    Raises:
        UserError: the file is missing, damaged or no sampler.
    """
    kind, advice = "a sampler", "save the sampler again"
    header, state = read_npz(path, {"sampler": str, "config": dict}, kind, advice)
    classes = {c.__name__: c for c in SAMPLERS.values()}
    if header["sampler"] not in classes:
        raise UserError(
            f"{path} holds a {header['sampler']}, which this version of kerasgen doesn't know: update it."
        )
    with reading(path, kind, advice), bounded_weights(sum(array.size for array in state.values())):
        config = header["config"]
        assert isinstance(config, dict)  # by its schema
        check_finite(state)
        if not 1 <= int(state["latent_dim"]) <= _MOST_DIMENSIONS:
            raise Fault(f"its latents have {int(state['latent_dim'])} dimensions")
        sampler = classes[header["sampler"]](**config)
        sampler.restore(state)
        # Arrays that don't fit together are found by using them.
        for where in (None, *_evidence(state)):
            drawn = sampler.sample(1, seed=0, where=where).z
            if drawn.shape != (1, int(state["latent_dim"])) or not np.isfinite(drawn).all():
                raise Fault("it draws no latents")
    return sampler


def _evidence(state: dict[str, np.ndarray]) -> list[dict[str, int]]:
    """Return the first value of each label or attribute that a sampler knows."""
    if "attribute_names" not in state:
        return []
    starts = np.cumsum([0, *state["attribute_sizes"]])[:-1]
    firsts = state["attribute_values"][starts]
    return [{str(name): int(value)} for name, value in zip(state["attribute_names"], firsts, strict=True)]
