"""Latency, size and parity of artifacts, side by side in one run."""

import os
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.errors import UserError
from kerasgen.values import room

from .contract.inputs import check_sizes, network_and_inputs
from .contract.manifest import digest_of, read_manifest
from .contract.served import main_signature
from .formats.refusal import refusing_inputs
from .formats.registry import find_format, format_of, signatures_of
from .gate.forks import imported_once
from .gate.gate import SIGNATURE
from .gate.parity import greatest_difference
from .gate.process import FreshProcess, RuntimeFailure
from .gate.runtime import Arrays
from .verify import spec_of

if TYPE_CHECKING:
    import keras

_ROUNDS, _RUNS = 5, 20
_SIDE = 64  # pixels, where nothing says how many


@dataclass(frozen=True)
class Measurement:
    """One artifact's row.

    Attributes:
        path, format, variant: the artifact.
        bytes: its size.
        load_ms: until its runtime was ready.
        first_ms: the first run of one example, with all threads.
        median_ms: the median of its runs on one example, with all threads.
        single_ms: the same with one thread.
        nodes: how many operators its graph has.
        partitions: into how many pieces LiteRT's CPU delegate took the graph (1 is the aim); None elsewhere.
        max_difference: the largest absolute difference from Keras, in levels for uint8 pictures; None without a
            model.
    """

    path: Path
    format: str
    variant: str
    bytes: int
    load_ms: float
    first_ms: float
    median_ms: float
    single_ms: float
    nodes: int
    partitions: int | None
    max_difference: float | None


def benchmark(
    paths: Sequence[str | os.PathLike], model: "keras.Model | None" = None, inputs: object = None
) -> list[Measurement]:
    """Measure artifacts, each in processes of its own, taking turns.

    Args:
        paths: artifacts that `export_model` published.
        model: the Keras model that all of them should equal; without it there is no parity.
        inputs: a batch of real inputs as the model takes them; by default seeded values.

    Raises:
        UserError: a path is not an artifact, a runtime can't run one, or an argument doesn't fit.
    """
    if isinstance(paths, str | os.PathLike) or not paths:
        raise UserError(f"The artifacts are {paths!r}: give a list of at least one path.")
    files = [Path(path) for path in paths]
    manifests = [read_manifest(path) if format_of(path) else {} for path in files]
    pairs = [_sent_and_expected(*pair, model, inputs) for pair in zip(files, manifests, strict=True)]
    with imported_once(), ExitStack() as stack:
        try:
            processes = [
                [stack.enter_context(FreshProcess(format_of(path), path, threads)) for threads in (0, 1)]
                for path in files
            ]
            return _measured(files, manifests, pairs, processes)
        except RuntimeFailure as failure:
            raise UserError(
                f"An artifact can't be run: its runtime says {failure}; export the model again."
            ) from None


def _sent_and_expected(
    path: Path, manifest: dict, model: "keras.Model | None", inputs: object
) -> tuple[Arrays, Arrays | None]:
    if model is None:
        random = np.random.default_rng(0)
        described = manifest["signatures"][SIGNATURE]["inputs"]
        return {name: _random(random, info) for name, info in described.items()}, None
    image = spec_of(manifest)
    form = find_format(format_of(path), manifest["variant"]).FORMAT
    network, arrays = network_and_inputs(model, inputs, image, form)
    main = main_signature(signatures_of(form, network, image, {}, manifest["layout"]))
    sent = main.examples(arrays)
    check_sizes(main, sent)
    with refusing_inputs(model, arrays):
        return sent, main.reference(sent)


def _random(random: np.random.Generator, info: dict) -> np.ndarray:
    shape = [1 if axis == 0 else size or _SIDE for axis, size in enumerate(info["shape"])]
    room("The shape of an artifact's input", shape, 8 * prod(shape))
    return (random.random(shape) * (255 if info["dtype"] == "uint8" else 1)).astype(info["dtype"])


def _measured(
    paths: list[Path],
    manifests: list[dict],
    pairs: list[tuple[Arrays, Arrays | None]],
    processes: list[list[FreshProcess]],
) -> list[Measurement]:
    singles = [{name: value[:1] for name, value in sent.items()} for sent, _ in pairs]
    first = [process.time(SIGNATURE, single, 1)[0] for (process, _), single in zip(processes, singles, strict=True)]
    outputs = [process.run(SIGNATURE, sent) for (process, _), (sent, _) in zip(processes, pairs, strict=True)]
    # Rounds, so that a busy moment of the machine falls on all of them.
    seconds: list[tuple[list[float], list[float]]] = [([], []) for _ in paths]
    for warm in [True] + [False] * _ROUNDS:
        for taken, both, single in zip(seconds, processes, singles, strict=True):
            for times, process in zip(taken, both, strict=True):
                runs = process.time(SIGNATURE, single, repeats=3 if warm else _RUNS)
                times += [] if warm else runs
    return [
        Measurement(
            path=path,
            format=manifest["format"],
            variant=manifest["variant"],
            bytes=digest_of(path)[1],
            load_ms=1000 * process.description["load_seconds"],
            first_ms=1000 * first[i],
            median_ms=1000 * statistics.median(seconds[i][0]),
            single_ms=1000 * statistics.median(seconds[i][1]),
            nodes=sum(process.description["operators"].values()),
            partitions=process.description["partitions"],
            max_difference=_difference(outputs[i], pairs[i][1]),
        )
        for i, (path, manifest, (process, _)) in enumerate(zip(paths, manifests, processes, strict=True))
    ]


def _difference(outputs: Arrays, expected: Arrays | None) -> float | None:
    """Return the largest difference from Keras, where there is a model to compare with."""
    if expected is None:
        return None
    return max(greatest_difference(outputs[name], value) for name, value in expected.items())
