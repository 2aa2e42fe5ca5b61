"""How fast small generators are beside the paper's, as TFLite files on one thread of a CPU.

    python benchmarks/mobile.py [--side 256] [--rounds 10] [--json FILE] [--small]

The dense ResNet of 9 blocks with 64 filters, and separable ones with 64, 32 and 16, in float32 and in dynamic int8.
All files take turns in one run, each in a process of its own, so that a busy moment of the machine falls on all of
them. Times are medians, ratios are to the dense one in float32. Weights are as they are made: they change no time.
"""

import argparse
import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from peers import machine, write_json

from kerasgen.commands.distill_sweep import timed
from kerasgen.export.contract.signature import model_signature
from kerasgen.export.formats import tflite
from kerasgen.export.formats.registry import Request
from kerasgen.export.gate.process import FreshProcess
from kerasgen.networks import resnet_generator
from kerasgen.networks.macs import macs

TARGETS = {"float32": 0.11, "dynamic_int8": 0.07}  # of the dense one's time in float32, for a student
_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Subject:
    """One file: what it holds, and where it lies."""

    network: str
    variant: str
    weights: int
    gmacs: float
    path: Path


def networks(small: bool) -> dict[str, keras.Model]:
    """Return the dense network and the students by name; narrow and shallow ones for a test."""
    blocks, dense, students = (1, 8, (8, 4)) if small else (9, 64, (64, 32, 16))
    found = {f"dense {dense}": resnet_generator(filters=dense, blocks=blocks)}
    return found | {f"separable {n}": resnet_generator(filters=n, blocks=blocks, separable=True) for n in students}


def written(name: str, network: keras.Model, side: int, folder: Path) -> list[Subject]:
    """Write a network in both variants, for square pictures."""
    fixed = keras.models.clone_model(network, keras.Input((side, side, 3), name="image"))
    batch = {"image": np.random.default_rng(0).uniform(-1, 1, (1, side, side, 3)).astype("float32")}
    signatures = {_SIGNATURE: model_signature(fixed)}
    plain = folder / f"{name}.tflite"
    tflite.export(Request(signatures, "float32", batch), plain)
    rounded = folder / f"{name}.dynamic_int8.tflite"
    tflite.rounded(Request(signatures, "dynamic_int8", batch), plain, rounded)
    size = network.count_params(), macs(network, side, side) / 1e9
    return [Subject(name, variant, *size, path) for variant, path in (("float32", plain), ("dynamic_int8", rounded))]


def turns(subjects: list[Subject], side: int, rounds: int) -> list[float]:
    """Return the median milliseconds of each, which take turns."""
    picture = np.random.default_rng(1).uniform(-1, 1, (1, side, side, 3)).astype("float32")
    with ExitStack() as stack:
        return timed([stack.enter_context(FreshProcess("tflite", s.path, 1)) for s in subjects], picture, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256, help="pixels of the square pictures")
    parser.add_argument("--rounds", type=int, default=10, help="how often each runs")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    parser.add_argument("--small", action="store_true", help="tiny networks and pictures, to try the script")
    arguments = parser.parse_args()
    side, rounds = (32, 1) if arguments.small else (arguments.side, arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        subjects = [s for n, net in networks(arguments.small).items() for s in written(n, net, side, Path(folder))]
        times = turns(subjects, side, rounds)
        print(machine())
        print("network        variant           weights   GMAC       bytes       ms  ratio   aim")
        rows = []
        for subject, ms in zip(subjects, times, strict=True):
            row = {"network": subject.network, "variant": subject.variant, "weights": subject.weights}
            row |= {"gmacs": subject.gmacs, "bytes": subject.path.stat().st_size, "ms": ms, "ratio": ms / times[0]}
            aim = "" if subject.network.startswith("dense") else f"{TARGETS[subject.variant]:.2f}"
            print(
                f"{row['network']:14} {row['variant']:13} {row['weights']:11,} {row['gmacs']:6.2f} "
                f"{row['bytes']:11,} {ms:8.1f} {row['ratio']:6.3f} {aim:>5}"
            )
            rows.append(row)
    write_json(arguments.json, side=side, rounds=rounds, rows=rows)


if __name__ == "__main__":
    main()
