"""Latency, size and parity of artifacts, side by side in one run."""

import os
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._formats import format_of
from ._gate import SIGNATURE
from ._process import FreshProcess
from ._publish import digest_of
from ._signature import network_and_inputs

_ROUNDS, _RUNS = 5, 20


@dataclass(frozen=True)
class Measurement:
    """One artifact's row.

    Attributes:
        path, format: the artifact.
        bytes: its size.
        load_ms: until its runtime was ready.
        median_ms: the median of its runs on one example, with all threads.
        max_difference: the largest absolute difference from Keras.
    """

    path: Path
    format: str
    bytes: int
    load_ms: float
    median_ms: float
    max_difference: float


def benchmark(paths: Sequence[str | os.PathLike], model: Any, inputs: Any = None) -> list[Measurement]:
    """Measure artifacts of one model, each in a process of its own, taking turns.

    Args:
        paths: artifacts that `export_model` published.
        model: the Keras model that they should equal.
        inputs: a batch of real inputs; by default seeded values.

    Raises:
        UserError: a path is no artifact, or an argument doesn't fit.
    """
    import numpy as np

    network, arrays = network_and_inputs(model, inputs)
    single = {name: value[:1] for name, value in arrays.items()}
    expected = network.reference(arrays)
    artifacts = [(Path(path), format_of(Path(path))) for path in paths]
    with ExitStack() as stack:
        processes = [stack.enter_context(FreshProcess(name, path)) for path, name in artifacts]
        outputs = [process.run(SIGNATURE, arrays) for process in processes]
        for process in processes:
            process.time(SIGNATURE, single, repeats=3)  # the first runs allocate
        # Rounds, so that a busy moment of the machine falls on all of them.
        seconds = [[] for _ in processes]
        for _ in range(_ROUNDS):
            for taken, process in zip(seconds, processes, strict=True):
                taken += process.time(SIGNATURE, single, repeats=_RUNS)
    return [
        Measurement(
            path=path,
            format=name,
            bytes=digest_of(path)[1],
            load_ms=1000 * process.description["load_seconds"],
            median_ms=1000 * statistics.median(taken),
            max_difference=max(float(np.abs(output[n] - expected[n]).max()) for n in expected),
        )
        for (path, name), process, taken, output in zip(artifacts, processes, seconds, outputs, strict=True)
    ]
