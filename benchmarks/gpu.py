"""What kerasgen does on a GPU, in one command of about five minutes on one data-center card.

    python benchmarks/gpu.py --json gpu.json [--small] [--seconds 300] [--only NAME ...]

Prints each result as a line of JSON as soon as it is there, and keeps all of them in the file given: a machine that
is taken away leaves what was found. Each check has its own budget of seconds; one that fails or takes longer becomes
an entry with its reason, and the rest goes on. Correctness comes first, several checks at the same time, then what is
timed, alone: PyTorch's steps where it is installed, then ours, and last those that XLA compiles.

Without a GPU, or with `--small`, the same runs on the CPU at small sizes, where it tests itself; its times mean
nothing there. Needs the standard library alone; each check's own libraries are imported in the process that runs it,
from `gpu_checks/`. TensorFlow and PyTorch never share a process, because each brings another CUDA.
"""

import argparse
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gpu_checks.sizes import LARGE, SMALL
from peers import machine

_LOG_LINES = 12  # of a worker that died
_LEAST_SECONDS = 5.0  # with less left, nothing is begun
_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Check:
    """One check: a generator function of a module, its arguments, and the seconds that it may take on a card."""

    module: str
    function: str
    seconds: float
    arguments: tuple = ()


def _steps(jit: bool) -> dict[str, Check]:
    models = {"cyclegan": (30, 60), "vae": (20, 30)}
    return {
        f"{model} {precision}{' jit' * jit}": Check("gpu_checks.steps", "step", seconds[jit], (model, precision, jit))
        for precision in _PRECISIONS
        for model, seconds in models.items()
    }


CHECKS = {
    "devices": Check("gpu_checks.devices", "devices", 30),
    "cpu gradients cyclegan": Check("gpu_checks.equality", "reference_gradients", 60, ("cyclegan",)),
    "cpu gradients vae": Check("gpu_checks.equality", "reference_gradients", 30, ("vae",)),
    "cpu artifacts": Check("gpu_checks.artifacts", "reference_artifacts", 90),
    "replicas": Check("gpu_checks.equality", "replicas", 60),
    "resume": Check("gpu_checks.resuming", "resume", 110),
    "torch limit": Check("gpu_checks.torch_steps", "limit", 20),
    "torch cyclegan": Check("gpu_checks.torch_steps", "cyclegan", 40),
    "torch vae": Check("gpu_checks.torch_steps", "vae", 20),
    "limit": Check("gpu_checks.steps", "limit", 20),
    **_steps(jit=False),
    "gradients cyclegan": Check("gpu_checks.equality", "gradients", 40, ("cyclegan",)),
    "gradients vae": Check("gpu_checks.equality", "gradients", 20, ("vae",)),
    "loss scale": Check("gpu_checks.steps", "loss_scale", 30),
    "input": Check("gpu_checks.inputs", "share", 40),
    "artifacts": Check("gpu_checks.artifacts", "artifacts", 60),
    "large": Check("gpu_checks.large", "large", 60),
    **_steps(jit=True),
}
_REPLICAS, _RESUME = ("devices", "replicas"), ("resume",)
_CPU = tuple(name for name in CHECKS if name.startswith("cpu"))
_TORCH = tuple(name for name in CHECKS if name.startswith("torch"))
# What is compared with a CPU, or with itself: in float32 without TF32, for the whole process. A process that has run
# convolutions with TF32 goes on with it, whatever it is told: cuDNN's plans are kept.
_EXACT = (("gradients cyclegan", "gradients vae"), ("artifacts",), ("large",))
_SCALE = ("loss scale",)
_TIMED = tuple(
    name for name in CHECKS if name not in (*_REPLICAS, *_CPU, *_RESUME, *_TORCH, *_SCALE, *sum(_EXACT, ()))
)
# Phases come one after the other; the processes of a phase, each with its checks, run at the same time.
PHASES = ((_REPLICAS, _CPU, _RESUME, _SCALE), _EXACT, (_TORCH,), (_TIMED,))


@dataclass
class Results:
    """What was found so far, by check; every addition is printed, and the file is written anew."""

    file: Path | None
    small: bool
    checks: dict[str, dict] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, **found: object) -> None:
        with self.lock:
            self.checks.setdefault(name, {}).update(found)
            print(json.dumps({"check": name, **found}), flush=True)
            self._write()

    def _write(self) -> None:
        if self.file:
            known = {
                "machine": machine(),
                "small": self.small,
                "summary": summary(self.checks),
                "checks": self.checks,
            }
            fresh = self.file.with_name(self.file.name + ".new")
            fresh.write_text(json.dumps(known, indent=2) + "\n")
            fresh.replace(self.file)


def summary(checks: dict[str, dict]) -> dict[str, object]:
    """Each of our steps against the matrix product of its type, and against PyTorch's step; what failed, and why."""
    limits, steps = checks.get("limit", {}), {}
    for name, found in checks.items():
        if "seconds_per_step" not in found or name.startswith("torch"):
            continue
        model, precision = name.split()[:2]
        row = {"ms": 1e3 * found["seconds_per_step"]}
        if limit := limits.get(precision.removeprefix("mixed_")):
            row["of_limit"] = found["flop_per_step"] / found["seconds_per_step"] / limit
        if peer := checks.get(f"torch {model}", {}).get(precision.removeprefix("mixed_")):
            row["to_torch"] = found["seconds_per_step"] / peer
        steps[name] = row
    return {
        "steps": steps,
        "passed": [name for name, found in checks.items() if found.get("passed") is True],
        "not passed": [name for name, found in checks.items() if found.get("passed") is False],
        "failed": {name: found["failed"] for name, found in checks.items() if "failed" in found},
    }


def has_gpu() -> bool:
    """Tell whether the driver shows a GPU to this process."""
    try:
        driver, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
    except OSError:
        return False
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


class Run:
    """One run of the checks: workers are started for groups of them, and watched."""

    def __init__(self, results: Results, folder: Path, seconds: float):
        self.results, self.folder = results, folder
        self.patience = (SMALL if results.small else LARGE).patience
        self.deadline = time.monotonic() + seconds * self.patience

    def phase(self, groups: list[tuple[str, ...]]) -> None:
        with ThreadPoolExecutor(max(1, len(groups))) as pool:
            list(pool.map(self.group, groups))

    def group(self, names: tuple[str, ...]) -> None:
        """Run checks in one process; when one takes it down or overstays, the rest get a new process."""
        left = list(names)
        while left:
            if self.deadline - time.monotonic() < _LEAST_SECONDS:
                for name in left:
                    self.results.add(name, failed="It was not begun: the time was used up.")
                return
            left = self.worker(left)

    def worker(self, names: list[str]) -> list[str]:
        """Run checks in a new process, and return those that it came not to; at least one of them is settled."""
        environment = dict(os.environ)
        if names[0] not in _REPLICAS:  # whose logical devices have limits of their own
            environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        if any(names[0] in group for group in _EXACT):
            environment["NVIDIA_TF32_OVERRIDE"] = "0"
        if names[0] in _CPU:
            environment["CUDA_VISIBLE_DEVICES"] = "-1"
        log = self.folder / f"{names[0].replace(' ', '_')}.log"
        checks = [[CHECKS[name].module, CHECKS[name].function, CHECKS[name].arguments] for name in names]
        options = [self.folder, "small" if self.results.small else "large", *map(json.dumps, checks)]
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "gpu_checks.worker", *map(str, options)],
                cwd=Path(__file__).parent, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True,
                start_new_session=True,
            )  # fmt: skip
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        reader.start()
        left = list(names)
        try:
            while left:
                began = time.monotonic()
                reason = self._follow(left[0], lines)
                self.results.add(left[0], took=round(time.monotonic() - began, 1))
                name = left.pop(0)
                if reason:
                    said = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                    self.results.add(name, failed=reason, log=said)
                    return left
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with whatever it has started
            process.wait()
            reader.join()
            process.stdout.close()
        return left

    def _follow(self, name: str, lines: "queue.Queue[str | None]") -> str | None:
        """Add what the worker says of a check, until it is through; the reason if the worker must be given up."""
        own = CHECKS[name].seconds * self.patience
        ends = min(time.monotonic() + own, self.deadline)
        while True:
            try:
                line = lines.get(timeout=max(0.0, ends - time.monotonic()))
            except queue.Empty:
                late = "the time was used up" if ends == self.deadline else f"its {own:.0f} s passed"
                return f"It was ended: {late}."
            if line is None:
                return "Its process ended."
            found = json.loads(line)
            if found.pop("done", False):
                if found:
                    self.results.add(name, **found)
                return None
            self.results.add(name, **found)


def _read(process: subprocess.Popen, lines: "queue.Queue[str | None]") -> None:
    """Hand on the worker's lines; libraries print too, so ours bear a mark."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("\x1e"):
            lines.put(line[1:])
    lines.put(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="keep the results there")
    parser.add_argument("--small", action="store_true", help="small sizes, as without a GPU")
    parser.add_argument("--seconds", type=float, default=300, help="on a card; what comes later is left out")
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), metavar="NAME", help=", ".join(CHECKS))
    given = parser.parse_args()
    chosen = set(given.only or CHECKS)
    results = Results(given.json, given.small or not has_gpu())
    sizes = SMALL if results.small else LARGE
    print(json.dumps({"machine": machine(), "gpu": has_gpu(), "sizes": vars(sizes)}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(results, Path(folder), given.seconds)
        for phase in PHASES:
            groups = [tuple(name for name in group if name in chosen) for group in phase]
            run.phase([group for group in groups if group])
    print(json.dumps({"summary": summary(results.checks)}, indent=2))


if __name__ == "__main__":
    main()
