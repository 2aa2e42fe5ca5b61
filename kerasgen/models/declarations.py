"""What a model declares about itself, so that no command has to guess it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from kerasgen.typing import Config

if TYPE_CHECKING:
    import keras

Better = Literal["lower", "higher"]
# How `kerasgen evaluate` measures a model; `kerasgen.commands.evaluate` has a function for each.
Evaluation = Literal["generation", "pictures", "translation", "pairs", "score"]
# What an input `label` says: one of several classes, or 0/1 attributes at once.
Labels = Literal["classes", "attributes"]


class Latents(Protocol):
    """What a sampler of `kerasgen.samplers` draws: `z`, float32 [n, latent_dim]."""

    z: np.ndarray


class Moments(Protocol):
    """Posteriors of pictures, diagonal Gaussians: `mean` and `log_var`, [n, latent_dim] each."""

    @property
    def mean(self) -> np.ndarray: ...
    @property
    def log_var(self) -> np.ndarray: ...


class LatentSampler(Protocol):
    """Any sampler of `kerasgen.samplers`, as a model sees it."""

    def sample(self, n: int, seed: int | None = None) -> Latents:
        """Draw n latents."""


@dataclass(frozen=True)
class Reported:
    """A number that training or validation reports.

    Attributes:
        name: as it is logged; "val_" stands before it in validation.
        better: which direction is; None for a yardstick, which says something of the data rather than of the model.
        validation_only: whether training leaves it out.
        on_bar: whether it is worth a place on the progress bar.
        by_steps: whether the model's steps compute it; else a callback measures it after an epoch.
    """

    name: str
    better: Better | None = "lower"
    validation_only: bool = False
    on_bar: bool = False
    by_steps: bool = True

    @property
    def bar_name(self) -> str:
        """The name under which the bar finds it in the logs of an epoch."""
        return f"val_{self.name}" if self.validation_only else self.name


@dataclass(frozen=True)
class Loader:
    """A way to load what a model trains on.

    Attributes:
        name: of the function in `kerasgen.data.LOADERS`.
        sources: its arguments that name data sources: one for `--data`, two for `--data-a` and `--data-b`.
        needs: further arguments without which it loads nothing.
    """

    name: str
    sources: tuple[str, ...] = ("source",)
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExportedNetwork:
    """A network that is worth an artifact.

    Attributes:
        network: a plain Keras model.
        also: networks that share its weights, by name: further signatures of its SavedModel.
        not_pictures: names of tensors [batch, height, width, channels] that are something else, such as a flow; an
            artifact that has one takes and gives floats. All others of that rank are pictures in the model's
            `image_range`.
        labels: what its input `label` says, if it has one.
    """

    network: "keras.Model"
    also: Mapping[str, "keras.Model"] = field(default_factory=dict)
    not_pictures: tuple[str, ...] = ()
    labels: Labels = "classes"


@dataclass(frozen=True)
class Teacher:
    """A trained network whose answers a smaller one can learn; see `kerasgen.models.Distiller`.

    Attributes:
        network: a plain Keras model, pictures in [-1, 1] to pictures in [-1, 1], without noise.
        generator_type: what it is, as `PairedTranslator` calls it.
        generator_options: what it was made with.
        task: what it is for, as `PairedTranslator` calls it.
        source: the loader's argument that names its inputs; None where they are made of all the data's arguments.
        discriminator: what has learned to judge its pictures; None where there is none that could go on.
        conditional: whether the discriminator sees the input before the picture.
        adversarial_loss: the discriminator's, "vanilla" or "lsgan".
    """

    network: "keras.Model"
    generator_type: str
    generator_options: Mapping[str, Config]
    task: str = "restoration"
    source: str | None = None
    discriminator: "keras.Model | None" = None
    conditional: bool = True
    adversarial_loss: str = "vanilla"
