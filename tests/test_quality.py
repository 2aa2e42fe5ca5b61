"""The numbers that the README gives for the presets that train offline, each on three seeds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import vae_digits

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_vae_digits_reaches_its_elbo_and_makes_digits_that_are_recognized(seed):
    measured = vae_digits.measure(seed)
    print(f"\n{measured}")
    assert measured["test_elbo"] >= -54
    assert measured["recognized"] >= 0.97


# Adversarial training amplifies the rounding of a CPU's kernels: seed 0 of the dusk ends at 27.7 dB with AVX-512 and
# at 24.5 dB with AVX2, where the other two seeds have not been measured.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "least", "untouched", "seed"),
    [
        ("cyclegan_digits_ink", 32, 3, 0),
        ("cyclegan_digits_ink", 32, 3, 1),
        ("cyclegan_digits_ink", 32, 3, 2),
        ("cyclegan_photo_dusk", 24, 18, 0),
    ],
)
def test_cyclegan_finds_the_translation_whose_truth_it_never_saw(preset, least, untouched, seed, tmp_path):
    # A process of its own, because the benchmark makes TensorFlow deterministic for all that follows.
    options = ["--preset", preset, "--seed", str(seed), "--json", tmp_path / "row.json"]
    subprocess.run([sys.executable, BENCHMARKS / "cyclegan_presets.py", *options], check=True, capture_output=True)
    (measured,) = json.loads((tmp_path / "row.json").read_text())
    print(f"\n{measured}")
    assert measured["psnr_a2b"] >= least
    # The task must stay as hard as it was: leaving the picture alone is measured at 2.7 and 17.5 dB.
    assert measured["untouched_psnr"] <= untouched
