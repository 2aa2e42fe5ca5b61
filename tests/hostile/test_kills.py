"""SIGKILL at random moments: three of each command; `benchmarks/kills.py --tries 20` does twenty."""

import pytest
from kills import COMMANDS, killed


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_leaves_nothing(warm, tmp_path, name):
    def begin(arguments, environment):
        return warm.start(*arguments, env=environment, silent=True)

    faults = killed(name, tmp_path, tries=3, seed=1, begin=begin)
    assert not faults, "\n".join(faults)
