"""A training that is killed and resumed, against an undisturbed one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gpu_checks.sizes import Sizes

_TRAIN = ("train", "vae_digits", "--epochs=2", "--seed=3", "--checkpoint-steps=5", "--strategy=one_device")


def resume(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """Kill `kerasgen train` (SIGKILL) after a checkpoint, resume it, and compare with one that nobody disturbed.

    On a GPU kerasgen doesn't ask for deterministic kernels; here TensorFlow is told to use them, so that the two can
    be equal to the bit. Passed if the last checkpoints and the logs are.
    """
    undisturbed, killed = folder / "undisturbed", folder / "killed"
    whole, broken = start(undisturbed, folder), start(killed, folder)
    try:
        step = kill_after_checkpoint(broken, killed)
        yield {"killed_after_step": step, "exit_code": broken.returncode}
        finish(start(killed, folder, "--resume"), folder)
        finish(whole, folder)
    finally:
        for process in (whole, broken):
            process.kill()
    last = newest(undisturbed)
    found, expected = (np.load(run / "checkpoints" / f"step_{last:08d}.npz") for run in (killed, undisturbed))
    differing = [name for name in expected.files if not np.array_equal(found[name], expected[name])]
    same_log = (killed / "log.csv").read_bytes() == (undisturbed / "log.csv").read_bytes()
    yield {"last_step": last, "arrays": len(expected.files), "differing": differing[:5], "same_log": same_log}
    yield {"passed": not differing and same_log and 0 < step < last}


def start(run: Path, folder: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "kerasgen.cli", *_TRAIN, "--output", str(run), *more]
    environment = {**os.environ, "TF_DETERMINISTIC_OPS": "1"}
    with (folder / f"{run.name}{''.join(more)}.log").open("w") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment)


def finish(process: subprocess.Popen, folder: Path) -> None:
    """Wait for its end, or raise `RuntimeError` with what it said last."""
    if process.wait():
        run = Path(process.args[process.args.index("--output") + 1]).name
        said = [path.read_text(errors="replace")[-400:] for path in folder.glob(f"{run}*.log")]
        raise RuntimeError(f"kerasgen train ended with {process.returncode}: {' … '.join(said)}".replace("\n", " "))


def newest(run: Path) -> int:
    """The step of the newest checkpoint; 0 before there is one."""
    steps = [int(path.stem.removeprefix("step_")) for path in (run / "checkpoints").glob("step_*.npz")]
    return max(steps, default=0)


def kill_after_checkpoint(process: subprocess.Popen, run: Path) -> int:
    """Kill it when its second checkpoint stands, and return the newest one's step."""
    while newest(run) < 10:
        if process.poll() is not None:
            finish(process, run.parent)
            raise RuntimeError("the training ended before it could be killed")
        time.sleep(0.002)
    process.kill()
    process.wait()
    return newest(run)
