"""Densities over a VAE's latent space; all share `fit`, `sample`, `log_prob`, `save` and `load`."""

import json
import os
import zipfile

import numpy as np

from kerasgen.errors import UserError
from kerasgen.samplers.base import Sampler, Samples
from kerasgen.samplers.class_gaussian import ClassGaussianSampler
from kerasgen.samplers.decision_tree import DecisionTreeSampler
from kerasgen.samplers.gaussian_mixture import GaussianMixtureSampler
from kerasgen.samplers.posterior import PosteriorSampler, attribute_directions
from kerasgen.samplers.prior import PriorSampler
from kerasgen.samplers.two_stage import TwoStageSampler

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
    """
    if name not in SAMPLERS:
        raise UserError(f"There is no sampler {name!r}: choose one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def load_sampler(path: str | os.PathLike) -> Sampler:
    """Read a sampler that `Sampler.save` wrote, of whichever class.

    Raises:
        UserError: the file is missing, damaged or no sampler.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            state = {name: file[name] for name in file.files if name != "header"}
    except FileNotFoundError:
        raise UserError(f"{path} doesn't exist: give the path of a sampler that was saved.") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a saved sampler, or is damaged: save the sampler again.") from error
    classes = {c.__name__: c for c in SAMPLERS.values()}
    if header["sampler"] not in classes:
        raise UserError(
            f"{path} holds a {header['sampler']}, which this version of kerasgen doesn't know: update it."
        )
    sampler = classes[header["sampler"]](**header["config"])
    sampler.restore(state)
    return sampler
