"""Seconds until `kerasgen` answers: its help, its lists, and mistakes; each the median of fresh processes.

    python benchmarks/startup.py [--runs 5] [--quickstart] [--json FILE]

A mistake must end with exit code 2 and a sentence; anything else is said instead of the time. `--quickstart` times
all of `kerasgen quickstart` once. The targets are for a quiet machine with two cores, after the files were read once.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peers import busy_cores, machine, write_json


@dataclass(frozen=True)
class Case:
    """A command line, what it may take in seconds, and the exit code that it must end with."""

    arguments: tuple[str, ...]
    target: float
    code: int = 2

    @property
    def name(self) -> str:
        return " ".join(["kerasgen", *self.arguments])


def _mistakes(*lines: str) -> tuple[Case, ...]:
    return tuple(Case(tuple(line.split()), 3.0) for line in lines)


CASES = (
    Case(("--help",), 0.5, 0),
    Case(("--version",), 0.5, 0),
    Case(("list",), 4.0, 0),
    *_mistakes(
        "nothing",
        "train nothing --output out",
        "train vae_digits",
        "train vae_digits --output out --epochs 0",
        "train vae_digits --output out --set nothing=1",
        "train vae_digits --output out --monitor nothing",
        "train super_resolution_x2 --output out --monitor val_psnr_input",
        "train vae_digits --output out --resume",
        "generate nothing --output out",
        "generate vae_digits --output out --n 0",
        "interpolate nothing --from a.png --to b.png --output out",
        "evaluate nothing",
        "evaluate vae_digits --k 0",
        "compare nothing",
        "distill nothing --output out",
        "translate nothing --input in --output out",
        "translate cyclegan_digits_ink --input nothing --output out",
        "export nothing --output out",
        "export vae_digits",
        "export vae_digits --output out --format nothing",
        "verify nothing --against nothing",
        "benchmark nothing",
        "import-torch nothing.pth --output out.keras",
        "card nothing",
        "serve nothing",
        "serve . --rest-port 70000",
        "demo nothing",
        "serving list nothing",
        "serving rollback nothing name",
        "quickstart --model nothing",
    ),
)


def seconds(case: Case, runs: int) -> dict[str, object]:
    """The median of so many processes, and how the last one ended."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "kerasgen.cli", *case.arguments], cwd=folder, capture_output=True, text=True
            )
            times.append(time.perf_counter() - start)
    said = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    sound = done.returncode == case.code and (case.code == 0 or len(said) == 1)
    return {
        "command": case.name,
        "seconds": statistics.median(times),
        "target": case.target,
        "ended": done.returncode,
        "sound": sound,
        "said": said[-1] if said else "",
    }


def row_text(row: dict[str, object]) -> str:
    """A row of the table."""
    verdict = f"ended with {row['ended']}: {row['said']}" if not row["sound"] else ""
    verdict = verdict or ("" if row["seconds"] <= row["target"] else "missed")
    return f"{row['command']:62} {row['seconds']:7.2f} {row['target']:7.1f}  {verdict}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quickstart", action="store_true", help="time it too, once")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    given = parser.parse_args()
    busy = busy_cores()
    print(f"{machine()}; {busy:.1f} of them busy; medians of {given.runs}\n{'':62} seconds  target")
    rows = []
    for case in CASES:
        rows.append(seconds(case, given.runs))
        print(row_text(rows[-1]), flush=True)
    if given.quickstart:
        rows.append(seconds(Case(("quickstart",), 75.0, 0), 1))
        print(row_text(rows[-1]), flush=True)
    write_json(given.json, busy_cores=busy, rows=rows)


if __name__ == "__main__":
    main()
