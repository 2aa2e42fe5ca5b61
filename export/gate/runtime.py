"""What `contents()` and `load()` of every format return. Fresh processes use it too: it imports nothing of ours."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


def save_arrays(path: str | Path, arrays: Arrays) -> None:
    """Write arrays by name to an .npz file; a tensor may have any name, also one of an argument of `np.savez`."""
    np.savez(path, np.array(list(arrays), "U"), *arrays.values())


def load_arrays(path: str | Path) -> Arrays:
    """Read what `save_arrays` wrote."""
    with np.load(path) as archive:
        names, *values = archive.values()
    return dict(zip(names.tolist(), values, strict=True))


@contextlib.contextmanager
def without(module: str) -> Iterator[None]:
    """Make a module one that isn't installed, for what is imported in this block; unless it is imported already."""
    hidden = module not in sys.modules
    if hidden:
        sys.modules[module] = None  # type: ignore[assignment]  # Python's word for a module that can't be imported
    try:
        yield
    finally:
        if hidden:
            del sys.modules[module]


@dataclass(frozen=True)
class Contents:
    """What is in an artifact, read without running any of it.

    Attributes:
        operators: how often the graph has each operator, those of inner graphs and functions included.
        foreign: the operators that are not on the format's list of those that only compute: custom ones, Flex,
            Python, files.
        weight_bytes: the bytes that the artifact spends on weights.
        runtime_floor: the oldest runtime that reads the artifact, as far as it says so.
        notes: what the export wrote into the artifact for its clients.
    """

    operators: dict[str, int]
    foreign: list[str]
    weight_bytes: int
    runtime_floor: str
    notes: dict[str, object]


@dataclass(frozen=True)
class Loaded:
    """An artifact in the hands of its own runtime.

    Attributes:
        runtime: the runtime's name and version.
        signatures: by name, `{"inputs": {name: {"shape": [...], "dtype": "float32"}}, "outputs": {...}}`;
            None in a shape stands for any size.
        run: `run(signature, inputs) -> outputs`, both as arrays by name.
        load_seconds: how long the runtime took until the first run was possible.
        partitions: into how many pieces LiteRT's CPU delegate took the graph; None for other runtimes.
    """

    runtime: str
    signatures: dict[str, dict]
    run: Callable[[str, Arrays], Arrays]
    load_seconds: float
    partitions: int | None = None
