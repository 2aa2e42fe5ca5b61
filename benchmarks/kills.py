"""Kill commands at random moments, and see what they leave: `python benchmarks/kills.py --tries 20`.

Nothing half is visible after a kill; the next run works, leaves nothing that is temporary and touches nothing
foreign; what it makes equals what an undisturbed run makes.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "009280b"
# Their content is the same in each run, byte by byte; a manifest and a configuration hold times and versions.
_SAME = (".png", ".csv", ".npz", ".onnx")


@dataclass(frozen=True)
class Command:
    """One kind of command; "{in}" and "{out}" stand for its folders.

    Attributes:
        argv: what is run, and killed.
        again: what is run afterwards, if config.json is there already.
    """

    argv: tuple[str, ...]
    again: tuple[str, ...] = ()


_TRAIN = ("train", "vae_digits", "--output", "{out}", "--epochs", "2", "--seed", "1")
_EXPORT = ("export", str(GOLDEN / "vae_run"), "--format", "onnx")
COMMANDS = {
    "train": Command(_TRAIN, (*_TRAIN, "--resume")),
    "generate": Command(("generate", str(GOLDEN / "vae_run"), "--output", "{out}", "--n", "100")),
    "translate": Command(("translate", str(GOLDEN / "cyclegan_run"), "--input", "{in}", "--output", "{out}")),
    "export": Command((*_EXPORT, "--output", "{out}")),
    "serving": Command((*_EXPORT, "--serving", "{out}")),
    "import": Command(("import-torch", "{in}/net.pth", "--output", "{out}/net.keras")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("names", nargs="*", default=list(COMMANDS))
    given = parser.parse_args()
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            faults = killed(name, Path(folder), given.tries, given.seed)
        print(f"{name}: {given.tries} kills, {len(faults)} faults", *faults, sep="\n  ", flush=True)


class Process(Protocol):
    """A command that runs."""

    def kill(self) -> None: ...
    def wait(self) -> int: ...


Begin = Callable[[list[str], dict[str, str]], Process]


def killed(name: str, folder: Path, tries: int, seed: int, begin: Begin | None = None) -> list[str]:
    """Kill one kind of command so many times, and return what was wrong.

    `begin` starts a command, given what `python` is given and its environment; by default in a new Python, in which
    the imports are what the first 0.4 of the time goes into.
    """
    begin, first = begin or in_new_python, 0.0 if begin else 0.4
    inputs, truth, moments = folder / "in", folder / "truth", random.Random(seed)
    make_inputs(inputs)
    began = time.monotonic()
    start(begin, name, inputs, truth, folder / "system").wait()
    took, faults = time.monotonic() - began, []
    for number in range(tries):
        output, system = folder / f"out{number}", folder / f"system{number}"
        (output / "kept").mkdir(parents=True)
        (output / "kept" / ".tmp-foreign").write_text("foreign")
        process = start(begin, name, inputs, output, system)
        time.sleep(moments.uniform(first, 1.0) * took)
        process.kill()
        process.wait()
        faults += [f"after kill {number}: {fault}" for fault in differences(output, truth, whole=False)]
        code = start(begin, name, inputs, output, system).wait()
        faults += [f"kill {number}: the next run ended with {code}"] if code else []
        faults += [f"after the run after kill {number}: {f}" for f in differences(output, truth, name != "serving")]
        left = [*output.rglob(".kerasgen-tmp-*"), *system.iterdir()]
        faults += [f"kill {number} left {left}"] if left else []
        if (output / "kept" / ".tmp-foreign").read_text() != "foreign":
            faults.append(f"kill {number}: a foreign file was touched")
    return faults


def make_inputs(folder: Path) -> None:
    """Pictures to translate, and a discriminator of PyTorch's to import."""
    import torch
    from PIL import Image

    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), np.uint8)
    for i, picture in enumerate(noise):
        Image.fromarray(picture).save(folder / f"{i}.png")
    torch.manual_seed(0)
    shapes = {"model.0": (8, 3, 4, 4), "model.2": (16, 8, 4, 4), "model.5": (32, 16, 4, 4), "model.8": (1, 32, 4, 4)}
    weights = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    torch.save(
        weights | {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}, folder / "net.pth"
    )


def start(begin: Begin, name: str, inputs: Path, output: Path, system: Path) -> Process:
    system.mkdir(exist_ok=True)
    command = COMMANDS[name]
    argv = command.again if command.again and (output / "config.json").exists() else command.argv
    argv = [part.replace("{in}", str(inputs)).replace("{out}", str(output)) for part in argv]
    environment = {**os.environ, "TMPDIR": str(system), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return begin(["-m", "kerasgen.cli", *argv], environment)


def in_new_python(arguments: list[str], environment: dict[str, str]) -> Process:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    return subprocess.Popen([sys.executable, *arguments], **quiet)


def differences(output: Path, truth: Path, whole: bool) -> list[str]:
    """What stands in a folder and isn't what an undisturbed run wrote; `whole` asks for all of it."""
    found, wanted = visible(output), visible(truth)
    faults = [
        f"{name} is not as it should be" for name in found.keys() & wanted.keys() if found[name] != wanted[name]
    ]
    return faults + ([f"{name} is missing" for name in wanted.keys() - found.keys()] if whole else [])


def visible(folder: Path) -> dict[str, object]:
    """What people and programs see, by name: files that are always the same by content, others by being whole."""
    found = {}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if not path.is_file() or any(part.startswith(".") for part in parts) or path.name == "curves.png":
            continue
        name = "/".join(parts)
        # Until a training ends, its log has fewer lines, and it keeps other checkpoints.
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                found[name] = archive.read("model.weights.h5")
        elif path.suffix in _SAME and path.name != "log.csv":
            found[name] = path.read_bytes()
        else:
            found[name] = path.stat().st_size > 0
    return found


if __name__ == "__main__":
    main()
