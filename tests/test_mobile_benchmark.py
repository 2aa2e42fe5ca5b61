"""benchmarks/mobile.py on tiny networks: every file runs, and the table says what stands in the JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kerasgen.networks import resnet_generator


@pytest.mark.slow
def test_a_short_run_prints_its_table(tmp_path):
    script, target = Path(__file__).parents[1] / "benchmarks" / "mobile.py", tmp_path / "mobile.json"
    command = [sys.executable, script, "--small", "--json", target]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    rows = json.loads(target.read_text())["rows"]
    assert [(row["network"], row["variant"]) for row in rows] == [
        (name, variant)
        for name in ("dense 8", "separable 8", "separable 4")
        for variant in ("float32", "dynamic_int8")
    ]
    assert rows[0]["ratio"] == 1
    for row in rows:
        filters = int(row["network"].split()[1])
        network = resnet_generator(filters=filters, blocks=1, separable="separable" in row["network"])
        assert row["weights"] == network.count_params()
        assert row["ms"] == pytest.approx(row["ratio"] * rows[0]["ms"])
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("separable 4") and "float32" in line]
    assert f"{rows[4]['bytes']:,}" in line
