"""Steps along a velocity from one time to another, for tensors and for graphs that are being built."""

from collections.abc import Callable

from kerasgen.typing import Tensor

SOLVERS = ("euler", "heun")


def integrate(
    velocity: Callable[[Tensor, float], Tensor],
    x: Tensor,
    steps: int,
    solver: str = "heun",
    start: float = 0.0,
    end: float = 1.0,
) -> Tensor:
    """Return where x is at `end`, if it is x at `start` and moves by `velocity`.

    Args:
        velocity: from a place and a time to dx/dt.
        x: where it begins.
        steps: of equal length.
        solver: "euler" asks for one velocity a step, and its error is of the first order; "heun" asks for two
            (improved Euler, which Karras et al. 2022, 2206.00364, sample by), and its error is of the second.
        start, end: the times; backwards too.
    """
    length = (end - start) / steps
    for i in range(steps):
        time = start + i * length
        slope = velocity(x, time)
        if solver == "heun":
            slope = 0.5 * (slope + velocity(x + length * slope, time + length))
        x = x + length * slope
    return x
