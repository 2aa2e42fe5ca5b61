"""The models: subclassed Keras models with their own `train_step`, trained by `model.fit`."""

from kerasgen.models.base import GenerativeModel
from kerasgen.models.cyclegan import CycleGAN
from kerasgen.models.paired import PairedTranslator
from kerasgen.models.registration import Registration
from kerasgen.models.vae import VAE, Posterior

__all__ = ["VAE", "CycleGAN", "GenerativeModel", "PairedTranslator", "Posterior", "Registration"]
