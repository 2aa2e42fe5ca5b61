"""What `load()` of every format returns. Used in fresh processes too, so it imports nothing of ours."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Loaded:
    """An artifact in the hands of its own runtime.

    Attributes:
        runtime: the runtime's name and version.
        signatures: by name, `{"inputs": {name: {"shape": [...], "dtype": "float32"}}, "outputs": {...}}`;
            None in a shape stands for any size.
        run: `run(signature, inputs) -> outputs`, both as arrays by name.
        operators: how often the file's graph has each operator.
        foreign: the operators that the plain runtime doesn't promise to have (custom, Flex, Python ...).
        weight_bytes: the bytes that the file spends on weights.
        runtime_floor: the oldest runtime that reads the file, as far as the file says.
        load_seconds: how long the runtime took until the first run was possible.
        partitions: into how many pieces LiteRT's CPU delegate took the graph; None for other runtimes.
    """

    runtime: str
    signatures: dict[str, dict]
    run: Callable[[str, Arrays], Arrays]
    operators: dict[str, int]
    foreign: list[str]
    weight_bytes: int
    runtime_floor: str
    load_seconds: float
    partitions: int | None = None
