"""`benchmarks/large.py` at a small size: strips are right where tiles aren't, and tiles lie where they should."""

import json
import subprocess
import sys
from pathlib import Path

import large
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "large.py"


@pytest.mark.parametrize("shape", [(40, 700, 3), (449, 256, 3), (471, 226, 1)])
def test_tiles_lie_where_they_belong(shape):
    picture = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
    np.testing.assert_array_equal(large.tiled(lambda tile: tile, picture), picture)
    enlarged = large.tiled(lambda tile: tile.repeat(2, axis=0).repeat(2, axis=1), picture)
    np.testing.assert_array_equal(enlarged, picture.repeat(2, axis=0).repeat(2, axis=1))


def test_what_looks_no_further_than_the_overlap_is_right_in_tiles_and_a_mean_is_not():
    picture = np.random.default_rng(0).uniform(-1, 1, (300, 300, 1)).astype("float32")
    picture[:150] *= 0.3

    def shifted(tile: np.ndarray) -> np.ndarray:
        return np.pad(tile, [(0, 16), (0, 0), (0, 0)])[16:]

    assert large.error(large.tiled(shifted, picture), shifted(picture))["max"] == 0
    less_mean = [large.tiled(lambda tile: tile - tile.mean(), picture), picture - picture.mean()]
    assert large.error(*less_mean)["max"] >= 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak memory so")
def test_it_runs_at_a_small_size(tmp_path):
    command = [
        sys.executable,
        SCRIPT,
        "--small",
        "--only",
        "resnet_9",
        "--float64",
        "--json",
        tmp_path / "large.json",
    ]
    subprocess.run(command, check=True, capture_output=True)
    [row] = json.loads((tmp_path / "large.json").read_text())["rows"]
    assert row["pixels"] == 600 * 820
    assert row["strips"]["max"] <= 1
    assert row["strips"]["share"] < 0.01 < 1 < row["tiles"]["mean"] < row["tiles"]["max"]
    # Strips gather a norm's statistics in float64, and the whole in float32.
    assert row["against float64"]["strips"]["share"] <= min(1e-4, row["against float64"]["whole"]["share"])
    # Of some 55 and 90 MB: what a heap keeps from before is a few.
    assert 0 < row["strips"]["peak"] < row["whole"]["peak"]
