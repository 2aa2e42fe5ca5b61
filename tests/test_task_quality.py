"""A task after one epoch, less than its preset has; benchmarks/tasks.py measures all tasks in full."""

import pytest
import tasks

from kerasgen.commands.train import train


@pytest.mark.slow
def test_low_light_is_brightened_better_than_by_the_exact_inverse(tmp_path):
    model = train("enhancement", tmp_path / "run", epochs=1).model
    measured = tasks.photographs("enhancement", model, None)
    for untouched, inverse, own in measured.values():
        assert untouched < 9 < 27 < inverse < own  # the task stays as hard as it was
