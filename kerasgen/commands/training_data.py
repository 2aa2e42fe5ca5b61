"""The data of a training: which loader takes the sources that are given, and batches from any step on."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kerasgen.data import LOADERS
from kerasgen.data.loading import halves_of, open_source, settled
from kerasgen.errors import UserError
from kerasgen.models import GenerativeModel
from kerasgen.models.declarations import Loader
from kerasgen.presets import Preset
from kerasgen.typing import Config

if TYPE_CHECKING:
    import tensorflow as tf

_OPENING = ("source", "image_size", "channels", "download", "data_dir")  # arguments of `open_source`


class TrainingData:
    """What a training and its validation see.

    Args:
        loader: how it is loaded.
        arguments: of the loader, its sources among them.
        seed: of the order.
        replicas: devices that share each batch.

    Attributes:
        arguments: what the loader was called with.
        steps_per_epoch: batches of an epoch.
        validation: the "val" split, which is the test split of data that has no other.

    Raises:
        UserError: the batch size can't be shared, or an argument doesn't fit.
    """

    def __init__(self, loader: Loader, arguments: Mapping[str, Config], seed: int, replicas: int):
        self.arguments: dict[str, Config] = {"batch_size": 32, **arguments}
        batch_size = self.arguments["batch_size"]
        if batch_size % replicas:
            raise UserError(
                f"A batch of {batch_size} can't be shared evenly by {replicas} devices: give a batch size that is "
                f"a multiple of {replicas}."
            )
        self._name = loader.name
        self._load = functools.partial(LOADERS[loader.name], seed=seed, **self.arguments)
        self._whole = self._load(split="train")
        self.steps_per_epoch = len(self._whole)
        self.validation = self._load(split="val")

    def mixed(self) -> "tf.data.Dataset":
        """Return the validation data in an order in which the first examples are of all kinds, where it has another.

        The files of a folder lie class by class.
        """
        if self._name != "load":
            return self.validation
        first = len(next(iter(self.validation))["image"])
        if first < self.arguments["batch_size"]:  # a mixed order has whole batches alone
            return self.validation
        plain = {**self.arguments, "augmentation": "none", "balance": None}
        return LOADERS["load"](split="val", seed=0, shuffle=True, **plain)

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the one source's classes, as they are now."""
        known = {name: self.arguments[name] for name in _OPENING if name in self.arguments}
        return open_source(split="train", **known).class_names

    def training(self, step: int) -> "tf.data.Dataset":
        """Return batches from a step of the training on."""
        return self._load(split="train", start_step=step)


def with_sources(
    model_class: type[GenerativeModel], name: str, preset: Preset, given: str | Sequence[str] | None
) -> tuple[Loader, Preset]:
    """Return the loader that takes as many sources as are given, and the preset with them.

    Args:
        model_class: the preset's model.
        name: of the preset.
        preset: whose own sources are taken if none are given.
        given: one source, or domain A and domain B.

    Raises:
        UserError: the model can't be trained on so many sources, or none are given and the preset has none.
    """
    sources = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    if len(sources) == 1 and sources[0].startswith("side_by_side:"):
        sources = halves_of(sources[0])
    if not sources:
        loader = model_class.loader_for(preset.data)
        if loader is None:
            raise UserError(f"The preset {name!r} comes without data: give {_wanted(model_class, preset)}.")
        return loader, preset
    fitting = _fitting(model_class, preset)
    loader = next((known for known in fitting if len(known.sources) == len(sources)), None)
    if loader is None:
        raise UserError(
            f"The preset {name!r} can't be trained on {len(sources)} data source{'s' * (len(sources) > 1)}: "
            f"give {_wanted(model_class, preset)}."
        )
    # What had to be measured of the data belongs to the run.
    sources = tuple(settled(source) for source in sources)
    # Another loader than the preset's own may not take all that the preset says, such as a degradation.
    taken = inspect.signature(LOADERS[loader.name]).parameters.keys()
    arguments = {name: value for name, value in preset.data.items() if name in taken}
    return loader, replace(preset, data=arguments | dict(zip(loader.sources, sources, strict=True)))


def _fitting(model_class: type[GenerativeModel], preset: Preset) -> list[Loader]:
    """Return the ways to load for which the preset says all that they need."""
    return [loader for loader in model_class.loaders if preset.data.keys() >= set(loader.needs)]


def _wanted(model_class: type[GenerativeModel], preset: Preset) -> str:
    """Return how sources are given on the command line."""
    options = {
        1: "--data folder:PATH",
        2: "--data-a folder:PATH --data-b folder:PATH, or --data side_by_side:PATH",
    }
    return ", or ".join(options[len(loader.sources)] for loader in _fitting(model_class, preset))
