"""The trained autoencoder in whose latents another model works: given as it is, or by where it is stored."""

from pathlib import Path
from typing import Generic, TypeVar

import keras
import numpy as np

from kerasgen.errors import UserError, a_kind
from kerasgen.files import MODEL_FILE
from kerasgen.keras_hooks import copy_weights
from kerasgen.models.base import GenerativeModel
from kerasgen.presets import PresetFolder, shipped
from kerasgen.untrusted import load_keras

M = TypeVar("M", bound=GenerativeModel)


class FirstStage(Generic[M]):
    """An autoencoder that isn't trained any more.

    A model that is given, or that lies in a file or folder of somebody's, is copied, and the files of the model that
    works in its latents hold that copy: they need nothing else. A trained preset of kerasgen's own is there wherever
    kerasgen is. Files only name it, "kl_emoji_64@SHA-256", so that the zoo holds its weights once; another version of
    these weights is refused.

    Args:
        given: the model, the name of a preset with trained weights, a preset's or a run's folder, or a .keras file.
        wanted: what it must be.

    Attributes:
        model: the autoencoder. It hides here, because Keras saves every model that is an attribute of another.
        recorded: what stands in the configuration: the copy, or the name.

    Raises:
        UserError: it is something else, there is none, or the preset's weights are others than those named.
    """

    def __init__(self, given: keras.Model | str, wanted: type[M]):
        self.model: M
        self.recorded: keras.Model | str
        name, _, digits = given.partition("@") if isinstance(given, str) else ("", "", "")
        if name in wanted.presets:
            self.recorded = _pinned(name, digits)
            self.model = wanted.from_preset(name)
        else:
            found = stored(given, wanted) if isinstance(given, str) else given
            if not isinstance(found, wanted):
                raise UserError(f"first_stage is {a_kind(found)}: give a trained {wanted.__name__}.")
            # The user's model stays as it is: not frozen, and under its own strategy.
            self.model = self.recorded = type(found).from_config(found.get_config())
            copy_weights(self.model, found)
        self.model.trainable = False


def same(one: FirstStage | None, two: FirstStage | None) -> bool:
    """Return whether two first stages have the same weights, or are both missing."""
    if one is None or two is None:
        return one is two
    ours, theirs = one.model.get_weights(), two.model.get_weights()
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


def stored(path: str, wanted: type[M]) -> M:
    """Return a model that lies in a file or folder, or ships as a preset.

    Args:
        path: the name of a preset with trained weights, a preset's or a run's folder, or a .keras file.
        wanted: what it must be.

    Raises:
        UserError: there is none, it can't be read, or it is something else.
    """
    if path in wanted.presets or PresetFolder(path).exists():
        return wanted.from_preset(path)
    file = Path(path) / MODEL_FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise UserError(
            f"There is no {wanted.__name__} at {path!r}: give a run folder, a .keras file, or a preset with trained "
            f"weights, which may be {', '.join(sorted(wanted.presets))}."
        )
    model = load_keras(file)
    if not isinstance(model, wanted):
        raise UserError(f"{file} holds {a_kind(model)}: give a trained {wanted.__name__}.")
    return model


def _pinned(name: str, digits: str) -> str:
    """Return a preset's name with the digest of its weights, of which the first digits may be given."""
    folder = shipped(name)
    if not folder.exists():
        raise UserError(
            f"The first stage {name!r} has no trained weights: train it by `kerasgen train {name}`, and give its run "
            "folder as first_stage."
        )
    digest = folder.metadata()["sha256"]
    if not digest.startswith(digits):
        raise UserError(
            f"The weights of the preset {name!r} are {digest[:12]}… now, and this model was trained with "
            f"{digits[:12]}…: use the version of kerasgen that trained it, or train it again."
        )
    return f"{name}@{digest}"
