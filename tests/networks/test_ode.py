"""Steps along a velocity whose path is known."""

import itertools
import math

import pytest

from kerasgen.networks.ode import integrate


def error(solver: str, steps: int, start: float, end: float) -> float:
    """Of x' = x · cos t, whose path is x = exp(sin t)."""
    found = integrate(lambda x, t: x * math.cos(t), math.exp(math.sin(start)), steps, solver, start, end)
    return abs(found - math.exp(math.sin(end)))


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_falls_as_the_order_says(solver, order, start, end):
    errors = [error(solver, steps, start, end) for steps in (32, 64, 128)]
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.1)
