"""Presets: a model's configuration and recipe under a name, and the folder that holds its trained weights."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import NotRequired, TypedDict

from kerasgen.declared import check_known, preset_names
from kerasgen.errors import UserError
from kerasgen.files import atomic_write
from kerasgen.typing import Config
from kerasgen.untrusted import read_json

# Raise it when a folder of today can't be read by yesterday's code, and teach `PresetFolder` the old layout.
LAYOUT = 1
FILES = ("config.json", "model.weights.h5", "metadata.json")  # what is read of a folder
# Of multiply-accumulates, as `kerasgen.networks.macs` counts them.
CONVENTION = "multiply-accumulates of convolutions and dense layers; transposed ones at their input's resolution"


@dataclass(frozen=True)
class Preset:
    """One named configuration.

    Attributes:
        description: one line for `kerasgen list`.
        config: keyword arguments of the model's constructor.
        data: keyword arguments of the data loader, with the source that the recipe was measured on.
        recipe: `epochs`, `learning_rate` and whatever else the model's `compile_for_recipe` takes.
        macs: multiply-accumulates of an example of the training size through its first network to export, as
            `kerasgen.networks.macs` counts them. They stand here, because to build all networks takes half a minute.
    """

    description: str
    config: dict[str, Config]
    data: dict[str, Config] = field(default_factory=dict)
    recipe: dict[str, Config] = field(default_factory=dict)
    macs: int | None = None


def worded(macs: int) -> str:
    """Return a number of multiply-accumulates for people: "49.6 GMAC", "2.58 MMAC"."""
    return f"{macs / 1e9:.3g} GMAC" if macs >= 1e8 else f"{macs / 1e6:.3g} MMAC"


class Metadata(TypedDict):
    """What metadata.json says of trained weights.

    Attributes:
        layout: the version of this layout.
        versions: of Python, Keras, TensorFlow and kerasgen.
        parameter_count: numbers in all weights.
        date_saved: as 2026-11-26.
        sha256: of model.weights.h5.
        preset: the name of the preset whose recipe trained them.
        data: arguments of the loader that they were trained with.
        seed: of weights, order and noise.
        recipe: how they were trained.
        command: one line that trains them again.
        caption: what the picture on the card shows.
        license: of the weights.
        attribution: the line to show wherever the weights, or pictures made with them, are shown.
        fails: what they don't do well, in a sentence or two.
        numbers: what was measured, by name.
        headline: the one number for `kerasgen list`, such as "22.9 dB".
    """

    layout: int
    versions: dict[str, str]
    parameter_count: int
    date_saved: str
    sha256: str
    preset: NotRequired[str]
    data: NotRequired[dict[str, Config]]
    seed: NotRequired[int]
    recipe: NotRequired[dict[str, Config]]
    command: NotRequired[str]
    caption: NotRequired[str]
    license: NotRequired[str]
    attribution: NotRequired[str]
    fails: NotRequired[str]
    numbers: NotRequired[dict[str, Config]]
    headline: NotRequired[str]


class PresetFolder:
    """A folder with trained weights: config.json, model.weights.h5, metadata.json, and README.md, the card.

    Example:
        shipped("vae_digits").metadata()["numbers"]

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    @property
    def config_file(self) -> Path:
        return self.path / FILES[0]

    @property
    def weights_file(self) -> Path:
        return self.path / FILES[1]

    @property
    def metadata_file(self) -> Path:
        return self.path / FILES[2]

    @property
    def card_file(self) -> Path:
        return self.path / "README.md"

    def exists(self) -> bool:
        """Return whether there are weights."""
        return self.weights_file.is_file()

    def is_of_keras(self) -> bool:
        """Return whether Keras wrote the folder, as `model.save` does on Hugging Face.

        Raises:
            UserError: config.json can't be read.
        """
        file = self.config_file
        return file.is_file() and "class_name" in read_json(file, {}, "a model's own", "save the model again")

    def summary(self) -> str:
        """Return how large the weights are and what they are worth, in a few words; "" if there are none."""
        if not self.exists():
            return ""
        megabytes = sum(file.stat().st_size for file in self.path.iterdir()) / 1e6
        return ", ".join(["trained", f"{megabytes:.1f} MB", *filter(None, [self.metadata().get("headline")])])

    def config(self, model: str) -> dict[str, Config]:
        """Read the arguments of a model's constructor.

        Args:
            model: the name of the class that is wanted.

        Raises:
            UserError: the file is missing, can't be read, or is another model's.
        """
        content = self._json(self.config_file)
        if content.get("model") != model or not isinstance(content.get("config"), dict):
            raise UserError(
                f"{self.path} holds the preset of a {content.get('model')}, not of a {model}: "
                f"use {content.get('model')}.from_preset."
            )
        return content["config"]

    def model_name(self) -> str:
        """Read the name of the model's class.

        Raises:
            UserError: config.json is missing or can't be read.
        """
        return str(self._json(self.config_file).get("model"))

    def metadata(self) -> Metadata:
        """Read metadata.json.

        Raises:
            UserError: it is missing or can't be read.
        """
        return self._json(self.metadata_file)

    def checked_weights(self) -> Path:
        """Return the file of the weights, after a look whether it is the one that metadata.json speaks of.

        Raises:
            UserError: it is missing, or its bytes are others.
        """
        if not self.exists():
            raise UserError(f"{self.path} holds no weights: save them there by save_to_preset.")
        if digest(self.weights_file) != self.metadata().get("sha256"):
            raise UserError(
                f"{self.weights_file} is damaged: its bytes are not those that metadata.json speaks of. "
                "Copy or install it again."
            )
        return self.weights_file

    def write(self, model: str, config: Mapping[str, Config], metadata: Mapping[str, Config]) -> None:
        """Write config.json and metadata.json beside weights that stand there already.

        Args:
            model: the name of the class.
            config: arguments of its constructor.
            metadata: all of `Metadata` but layout and sha256.

        Raises:
            UserError: the folder can't be written.
        """
        _write(self.config_file, {"layout": LAYOUT, "model": model, "config": dict(config)})
        _write(self.metadata_file, {"layout": LAYOUT, **metadata, "sha256": digest(self.weights_file)})

    def _json(self, path: Path) -> Config:
        if not path.exists():
            raise UserError(f"{self.path} is not a preset's folder: it lacks {path.name}.")
        content = read_json(path, {"layout": int}, "a preset's own", "save the preset again")
        if content["layout"] != LAYOUT:
            raise UserError(f"{path} doesn't have the layout {LAYOUT} of this version: save the preset again.")
        return content


def check_name(name: str, known: Collection[str] | None = None) -> None:
    """Raise `UserError` unless a preset has that name.

    Args:
        name: that was given.
        known: all names; None takes those that are declared.
    """
    known = preset_names() if known is None else known
    check_known(name, sorted(known), f"There is no preset {name!r}")


def shipped(name: str) -> PresetFolder:
    """Return the folder of a preset's trained weights that come with kerasgen; it may be missing."""
    return PresetFolder(str(resources.files("kerasgen.saved_models") / name))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: Mapping[str, Config]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
