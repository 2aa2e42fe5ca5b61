"""Trained weights by name or folder: `from_preset`, `save_to_preset`."""

import importlib.metadata
import os
import platform
import warnings
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

import keras
import numpy as np

from kerasgen import values
from kerasgen.errors import UserError, a_kind, reason
from kerasgen.files import atomic_write
from kerasgen.models.packing import pack
from kerasgen.presets import FILES, Preset, PresetFolder, shipped
from kerasgen.typing import Config
from kerasgen.untrusted import Fault, bounded_weights, check_finite, count_weights, load_keras_folder

_PACKAGES = ("kerasgen", "keras", "tensorflow")
_HUB = "hf://"
P = TypeVar("P", bound="Pretrained")


class Pretrained:
    """What a model of the zoo can do by its presets, as Keras users know it from keras-hub."""

    # By name; the package fills it from the table at the foot of the model's file.
    presets: ClassVar[dict[str, Preset]] = {}

    if TYPE_CHECKING:  # what it needs of the Keras model that it is mixed into

        @classmethod
        def from_config(cls, config: dict[str, Config]) -> Self: ...
        def get_config(self) -> dict[str, Config]: ...
        def get_weights(self) -> list[np.ndarray]: ...
        def set_weights(self, weights: list[np.ndarray]) -> None: ...
        def save_weights(self, filepath: Path) -> None: ...
        def load_weights(self, filepath: Path) -> None: ...
        @property
        def weights(self) -> list[keras.Variable]: ...
        def count_params(self) -> int: ...

    def forget_training(self) -> None:
        """Set back what only a training that goes on needs: another one begins without it."""

    @classmethod
    def from_preset(cls, preset: str | os.PathLike, load_weights: bool = True, **overrides: Config) -> Self:
        """Make a model of a preset's configuration, with its trained weights.

        Args:
            preset: a name that `kerasgen list` shows, a folder that `save_to_preset` wrote, or "hf://USER/NAME" for
                such a folder on Hugging Face, or for a model that `model.save` put there.
            load_weights: False makes a new, untrained model.
            **overrides: constructor arguments to replace; those that change the networks need `load_weights=False`.

        Raises:
            UserError: there is no such preset, it is another model's, it has no trained weights, or they don't fit.

        Example:
            vae = VAE.from_preset("vae_digits")
            images = vae.generate(16, labels=7)
        """
        on_hub = str(preset).startswith(_HUB)
        name = str(preset) if on_hub else str(values.path("preset", preset))
        if name in cls.presets:
            config, folder = cls.presets[name].config, shipped(name)
        elif on_hub or Path(preset).is_dir():
            folder = PresetFolder(_downloaded(name) if on_hub else preset)
            if folder.is_of_keras():
                return _saved_by_keras(cls, folder.path, load_weights, overrides)
            config = folder.config(cls.__name__)
        else:
            raise UserError(_no_preset(cls, name))
        if load_weights and not folder.exists():
            raise UserError(
                f"The preset {name!r} has no trained weights: train it by `kerasgen train {name}`, or give "
                "load_weights=False for a new model."
            )
        config = {**config, **overrides}
        return _trained(cls, config, folder) if load_weights else cls.from_config(config)

    def save_to_preset(
        self, folder: str | os.PathLike, metadata: Mapping[str, Config] | None = None, half: bool = False
    ) -> None:
        """Write config.json, model.weights.h5 and metadata.json, which `from_preset` reads.

        The optimizer is left out, and what else only a training that goes on needs, such as the images that a
        discriminator remembers. A folder of that name is replaced as a whole.

        Args:
            folder: the folder to write.
            metadata: what a reader should know: any of the optional entries of `kerasgen.presets.Metadata`.
            half: store weights in float16, in half the bytes: each is rounded by 1/2048 of itself at most. Keras
                reads such a file into float32 again.

        Raises:
            UserError: the folder can't be written.

        Example:
            vae.save_to_preset("my_digits", {"license": "CC BY 4.0"})
            VAE.from_preset("my_digits")
        """
        twin = type(self).from_config(self.get_config())  # without the optimizer, which would go into the file too
        twin.set_weights(self.get_weights())
        twin.forget_training()
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
        known = {
            "versions": {"python": platform.python_version(), **versions},
            "parameter_count": self.count_params(),
            "date_saved": date.today().isoformat(),
        }
        config = {name: value for name, value in self.get_config().items() if name != "name"}
        with atomic_write(folder) as temporary:
            temporary.mkdir()
            written = PresetFolder(temporary)
            twin.save_weights(written.weights_file)
            pack(written.weights_file, half)
            written.write(type(self).__name__, config, known | dict(metadata or {}))


def trained(preset: str) -> Pretrained:
    """Return a model with its trained weights, whichever its class is.

    Args:
        preset: a name that `kerasgen list` shows, or a folder that `save_to_preset` wrote.

    Raises:
        UserError: there is no such preset, or it has no trained weights.
    """
    folder = PresetFolder(preset)
    owner = _owner(preset)
    if owner is None and folder.exists():
        owner = next((model for model in _models(Pretrained) if model.__name__ == folder.model_name()), None)
    if owner is None:
        raise UserError(f"There is no preset {preset!r}, and no folder of that name with trained weights.")
    return owner.from_preset(preset)


def _trained(cls: type[P], config: Mapping[str, Config], folder: PresetFolder) -> P:
    """Make a model with the weights of a folder, which anybody may have made."""
    weights = folder.checked_weights()
    try:
        with bounded_weights(count_weights(weights)), warnings.catch_warnings():
            model = cls.from_config(dict(config))
            # Keras warns of what it leaves at random, and goes on.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(weights)
        # Two networks of a model may have weights of one path.
        check_finite({f"weight {i}, {v.path}": keras.ops.convert_to_numpy(v) for i, v in enumerate(model.weights)})
    except Fault as error:
        raise UserError(f"The preset in {folder.path} can't be used ({error}): copy or install it again.") from error
    except UserError:
        raise
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise UserError(
            f"The weights in {folder.path} don't fit this configuration ({reason(error)}): leave out the arguments "
            "that change the networks, or give load_weights=False."
        ) from error
    return model


def _downloaded(address: str) -> Path:
    """Return the folder of a model on Hugging Face, with none but the files that are read."""
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(address.removeprefix(_HUB), allow_patterns=list(FILES)))
    except ImportError as error:
        raise UserError(f"{address} is on Hugging Face: run `pip install huggingface_hub` to load it.") from error
    except Exception as error:  # those of the Hub and of the connection are of two dozen types
        raise UserError(
            f"{address} can't be downloaded ({reason(error)}): give hf://USER/NAME of a model there, and look at "
            "your connection."
        ) from error


def _saved_by_keras(cls: type[P], folder: Path, load_weights: bool, overrides: Mapping[str, Config]) -> P:
    if overrides or not load_weights:
        raise UserError(f"{folder} is a whole model with its weights: leave the other arguments out.")
    model = load_keras_folder(folder)
    if not isinstance(model, cls):
        raise UserError(f"{folder} holds {a_kind(model)}, not {a_kind(cls)}: load it by its own class.")
    return model


def _no_preset(cls: type[Pretrained], name: str) -> str:
    """Say whose a preset is that `cls` doesn't have, and which it has."""
    owner = _owner(name)
    own = ", ".join(sorted(cls.presets)) or "none"
    if owner is None:
        return f"There is no preset {name!r}, and no folder of that name: those of {cls.__name__} are {own}."
    return (
        f"The preset {name!r} is {a_kind(owner)}, not {a_kind(cls)}: "
        f"use {owner.__name__}.from_preset, or one of {own}."
    )


def _owner(name: str) -> type[Pretrained] | None:
    """Return the class that has a preset of that name."""
    return next((model for model in _models(Pretrained) if name in model.presets), None)


def _models(cls: type[Pretrained]) -> list[type[Pretrained]]:
    return [cls, *(model for child in cls.__subclasses__() for model in _models(child))]
