"""Images to train on, by name: `load("digits")`, `load("folder:PATH")`, `load("tfds:NAME")`;

two domains by `load_unpaired`, pairs of your own by `load_pairs`, degraded ones by `load_paired`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kerasgen.data.inputs import load_inputs
from kerasgen.data.loading import SOURCES, available_sources, load, open_source
from kerasgen.data.paired import load_paired
from kerasgen.data.pairs import load_pairs
from kerasgen.data.registration import load_registration
from kerasgen.data.sources.source import Source
from kerasgen.data.unpaired import load_unpaired

if TYPE_CHECKING:
    import tensorflow as tf

# By the names that models declare them by: a new way to load is a function, and its line here.
LOADERS: dict[str, "Callable[..., tf.data.Dataset]"] = {
    "load": load,
    "load_inputs": load_inputs,
    "load_paired": load_paired,
    "load_pairs": load_pairs,
    "load_registration": load_registration,
    "load_unpaired": load_unpaired,
}

__all__ = [
    "LOADERS",
    "SOURCES",
    "Source",
    "available_sources",
    "load",
    "load_inputs",
    "load_paired",
    "load_pairs",
    "load_registration",
    "load_unpaired",
    "open_source",
]
