"""Two tasks after one epoch each, less than their presets have; benchmarks/tasks.py has all of them."""

import pytest
import tasks

from kerasgen.data import load_registration
from kerasgen.presets import find
from kerasgen.train import train


@pytest.mark.slow
def test_low_light_is_brightened_better_than_by_the_exact_inverse(tmp_path):
    model = train("enhancement", tmp_path / "run", epochs=1).model
    measured = tasks.photographs("enhancement", model, None)
    for untouched, inverse, own in measured.values():
        assert untouched < 9 < 27 < inverse < own  # the task stays as hard as it was


@pytest.mark.slow
def test_registration_halves_the_endpoint_error(tmp_path):
    model = train("registration", tmp_path / "run", epochs=1).model
    scores = model.score(load_registration(split="test", **find("registration")[1].data))
    print(f"\n{scores}")
    assert scores["epe_identity"] == pytest.approx(2.53, abs=0.01)
    assert scores["epe_ratio"] <= 0.45
    assert scores["negative_jacobian"] <= 0.001
