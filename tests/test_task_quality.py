"""Low light by the weights that ship, on two whole photographs; benchmarks/tasks.py trains and measures all tasks."""

import pytest
import tasks

from kerasgen.runs import load_model


@pytest.mark.slow
def test_low_light_is_brightened_better_than_by_the_exact_inverse():
    measured = tasks.photographs("enhancement", load_model("enhancement"), None)
    for untouched, inverse, own in measured.values():
        assert untouched < 9 < 27 < inverse < own  # the task stays as hard as it was
