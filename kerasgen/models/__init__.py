"""The models: subclassed Keras models with their own `train_step`, trained by `model.fit`."""

from kerasgen.errors import UserError
from kerasgen.models import (
    autoencoder_kl,
    code_prior,
    cyclegan,
    distiller,
    paired,
    rectified_flow,
    registration,
    vae,
    vq_vae,
)
from kerasgen.models.autoencoder_kl import AutoencoderKL, MapPosterior
from kerasgen.models.base import GenerativeModel
from kerasgen.models.code_prior import CodePrior
from kerasgen.models.cyclegan import CycleGAN
from kerasgen.models.distiller import Distiller
from kerasgen.models.from_noise import FromNoise
from kerasgen.models.paired import PairedTranslator
from kerasgen.models.rectified_flow import RectifiedFlow
from kerasgen.models.registration import Registration
from kerasgen.models.vae import VAE, Posterior
from kerasgen.models.vq_vae import VQVAE
from kerasgen.presets import Preset, check_name

# A new model adds its module here. Each has a `MODEL` and its `PRESETS`.
MODEL_MODULES = (
    vae,
    cyclegan,
    paired,
    registration,
    rectified_flow,
    autoencoder_kl,
    vq_vae,
    code_prior,
    distiller,
)

__all__ = [
    "MODEL_MODULES",
    "VAE",
    "VQVAE",
    "AutoencoderKL",
    "CodePrior",
    "CycleGAN",
    "Distiller",
    "FromNoise",
    "GenerativeModel",
    "MapPosterior",
    "PairedTranslator",
    "Posterior",
    "RectifiedFlow",
    "Registration",
    "find",
    "model_named",
    "presets",
]


def presets() -> dict[str, tuple[type[GenerativeModel], Preset]]:
    """Return all presets by name: (model class, preset).

    Example:
        model_class, preset = presets()["vae_digits"]
    """
    return {name: (module.MODEL, preset) for module in MODEL_MODULES for name, preset in module.PRESETS.items()}


def find(name: str) -> tuple[type[GenerativeModel], Preset]:
    """Return the model class and the preset of that name.

    Raises:
        UserError: there is none; the sentence lists those that there are.

    Example:
        model_class, preset = find("vae_digits")
    """
    known = presets()
    check_name(name, known)
    return known[name]


def model_named(name: str) -> type[GenerativeModel]:
    """Return the model's class of that name.

    Raises:
        UserError: there is none.

    Example:
        model_named("VAE")
    """
    known = {module.MODEL.__name__: module.MODEL for module in MODEL_MODULES}
    if name not in known:
        raise UserError(f"There is no model {name!r} in kerasgen: choose one of {', '.join(known)}.")
    return known[name]


for _module in MODEL_MODULES:
    _module.MODEL.presets = _module.PRESETS
