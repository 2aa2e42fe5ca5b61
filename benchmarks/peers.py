"""What the benchmarks share: the peer's virtual environment, sides that take turns, the machine's name, the JSON.

Each side is a process of its own that lives through the benchmark and works only when it is its turn: no side runs
beside another, and a busy moment of the machine falls on all. Needs the standard library alone, because the peer's
environment imports it too.
"""

import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

PYTHAE_FOLDER = Path(tempfile.gettempdir()) / "venv-pythae-0.1.2"


def pythae_python(folder: Path = PYTHAE_FOLDER) -> Path:
    """The Python of pythae's virtual environment, which is made if it isn't there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "pythae==0.1.2", "torch==2.13.0"], check=True)
    return python


def answer(work: Callable[[], object]) -> None:
    """Be a side: work once for each line of the input; the answers are seconds and the process' peak memory in GiB.

    Libraries that print must not disturb the answers: what `work` prints is dropped.
    """
    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115
    work()  # traces, and allocates
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps([seconds, peak]), file=answers, flush=True)


def take_turns(sides: dict[str, list], rounds: int) -> dict[str, dict[str, float]]:
    """Median "seconds" and "peak_gib" of each side; `sides` are the commands that `answer`, by name."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    answers = {side: [] for side in sides}
    with contextlib.ExitStack() as started:
        workers = {}
        for side, command in sides.items():
            workers[side] = worker = subprocess.Popen(list(map(str, command)), **pipes)
            started.callback(worker.kill)
            if worker.stdout.readline().strip() != "ready":
                raise RuntimeError(f"The side {side!r} didn't start: run {' '.join(map(str, command))} to see why.")
        for _ in range(rounds):
            for side, worker in workers.items():
                worker.stdin.write("\n")
                worker.stdin.flush()
                answers[side].append(json.loads(worker.stdout.readline()))
    return {
        side: {"seconds": statistics.median(s for s, _ in found), "peak_gib": max(peak for _, peak in found)}
        for side, found in answers.items()
    }


def write_json(path: Path | None, **found: object) -> None:
    """Write what was found, and on which machine, if there is a path."""
    if path:
        path.write_text(json.dumps({"machine": machine(), **found}, indent=2, default=float) + "\n")


def busy_cores(seconds: float = 1.0) -> float:
    """How many cores work while this process waits; without /proc/stat the last minute's load."""
    try:
        before = _busy_seconds()
        time.sleep(seconds)
        return (_busy_seconds() - before) / seconds
    except OSError:
        return os.getloadavg()[0]


def _busy_seconds() -> float:
    """Of all cores since the machine started: everything but idle and waiting for disks."""
    spent = [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(spent) - spent[3] - spent[4]) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """The processor and how many of its cores this process may use."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {len(os.sched_getaffinity(0))} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
