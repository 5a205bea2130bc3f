"""Whole lives of many models, with everything going wrong on the way: no rule is ever broken, and all of them arrive.

`make simulation` lives as many more worlds as one likes; it and a failure here print the command for a seed.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.defects import DEFECTS, first_found
from tests.simulation.run import simulate

WORLDS = 40
STEPS_EACH = 2_600
_SEEDS_FOR_A_DEFECT = 6


@pytest.mark.parametrize("seed", range(WORLDS))
def test_a_world_in_which_everything_goes_wrong(seed):
    world = simulate(seed, STEPS_EACH)
    assert world.steps >= STEPS_EACH


def test_there_are_enough_steps():
    assert WORLDS * STEPS_EACH >= 100_000


@pytest.mark.parametrize("name", [name for name, defect in DEFECTS.items() if defect.quick])
def test_an_operator_that_is_broken_is_found_out(name):
    """`python -m tests.simulation.defects` tries those that take many worlds, too."""
    found = first_found(name, range(_SEEDS_FOR_A_DEFECT))
    assert found is not None
    assert any(rule in found for rule in DEFECTS[name].caught_by), found


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_replays_exactly_in_another_process(seed):
    """Whatever Python's hashes of strings are there: sets must not decide about anything."""
    program = f"from tests.simulation.run import simulate; print(simulate({seed}, 800).digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in (1, 2)
    }
    assert len(digests) == 1
