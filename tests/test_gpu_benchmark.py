"""`benchmarks/gpu.py` on a CPU: that its checks run, find what they are for, and that a failure is an entry."""

import json
import subprocess
import sys
from pathlib import Path

import gpu
import numpy as np
import pytest
from gpu_checks.equality import relative_difference

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CHOSEN = (
    "devices", "cpu gradients vae", "cpu artifacts", "torch vae", "limit", "vae float32", "gradients vae",
    "loss scale", "artifacts", "large",
)  # fmt: skip


def test_every_check_belongs_to_one_phase():
    assert sorted(name for phase in gpu.PHASES for group in phase for name in group) == sorted(gpu.CHECKS)
    for check in gpu.CHECKS.values():
        source = BENCHMARKS / "gpu_checks" / f"{check.module.removeprefix('gpu_checks.')}.py"
        assert f"\ndef {check.function}(" in source.read_text()


def test_a_wrong_gradient_is_seen():
    expected = [np.ones((3, 4)), np.full(5, 2.0)]
    assert relative_difference(expected, expected) == 0
    assert relative_difference([expected[0], expected[1] * 1.01], expected) == pytest.approx(0.01 * (20 / 32) ** 0.5)
    assert not relative_difference([expected[0], expected[1] * np.nan], expected) <= 1


CHECKS_OF_THIS_TEST = """
import os, sys, time
def raises(sizes, folder):
    yield {"first": 1}
    raise ValueError("no such\\n thing")
def dies(sizes, folder):
    yield {"first": 2}
    print("a last word", file=sys.stderr, flush=True)
    os._exit(3)
def hangs(sizes, folder):
    yield {"first": 3}
    time.sleep(3600)
def works(sizes, folder, passed):
    print("a library's line")
    yield {"pid": os.getpid()}
    yield {"passed": passed}
"""


def test_a_check_that_fails_dies_or_hangs_leaves_the_others(tmp_path, monkeypatch):
    (tmp_path / "checks_of_this_test.py").write_text(CHECKS_OF_THIS_TEST)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    of = "checks_of_this_test"
    checks = {
        "one": gpu.Check(of, "works", 60, (True,)),
        "raises": gpu.Check(of, "raises", 60),
        "two": gpu.Check(of, "works", 60, (False,)),
        "dies": gpu.Check(of, "dies", 60),
        "hangs": gpu.Check(of, "hangs", 0.2),  # times ten at small sizes
        "three": gpu.Check(of, "works", 60, (True,)),
    }
    monkeypatch.setattr(gpu, "CHECKS", checks)
    results = gpu.Results(tmp_path / "found.json", small=True)
    gpu.Run(results, tmp_path, seconds=60).phase([tuple(checks)])
    written = json.loads((tmp_path / "found.json").read_text())
    found = written["checks"]
    assert found["raises"]["first"] == 1
    assert found["raises"]["failed"] == "ValueError: no such thing"
    assert found["dies"]["failed"] == "Its process ended."
    assert found["dies"]["log"] == ["a last word"]
    assert found["hangs"]["failed"] == "It was ended: its 2 s passed."
    assert found["one"]["pid"] == found["two"]["pid"] != found["three"]["pid"]
    assert written["summary"]["passed"] == ["one", "three"]
    assert written["summary"]["not passed"] == ["two"]
    assert written["summary"]["failed"].keys() == {"raises", "dies", "hangs"}

    gpu.Run(results, tmp_path, seconds=0).phase([("one",)])
    assert results.checks["one"]["failed"] == "It was not begun: the time was used up."


@pytest.mark.slow
def test_it_runs_on_a_cpu_at_small_sizes(tmp_path):
    command = [sys.executable, BENCHMARKS / "gpu.py", "--small", "--json", tmp_path / "gpu.json", "--only", *CHOSEN]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["summary"]["failed"] == {}
    assert written["summary"]["not passed"] == []
    timed = {"vae float32"}
    assert set(written["summary"]["passed"]) == {
        "devices",
        "gradients vae",
        "loss scale",
        "artifacts",
        "large",
        *timed,
    }
    assert written["summary"]["steps"].keys() == timed
    assert all(row.keys() == {"ms", "of_limit", "to_torch"} for row in written["summary"]["steps"].values())
    # 32 arrays are trained; nothing but rounding parts a process from another one on the same machine.
    assert written["checks"]["cpu gradients vae"]["gradients"] == 32
    assert written["checks"]["gradients vae"]["float32"] < 1e-5
    assert all(f'"check": "{name}"' in printed for name in CHOSEN)
