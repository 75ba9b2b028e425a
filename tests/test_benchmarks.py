"""The benchmark measures what it says."""

from __future__ import annotations

import pytest
from botorch.test_functions import Hartmann
from botorch.test_functions.multi_objective import ZDT1

from benchmarks.optimiser import run, score, space_of


def test_score_of_points_on_the_true_front_nears_one() -> None:
    """ZDT1's front is 1 - sqrt(x): 2,000 points on it miss less than a thousandth of its hypervolume."""
    front = [(x / 2000, 1 - (x / 2000) ** 0.5) for x in range(2001)]
    assert score(ZDT1(8, num_objectives=2), front) == pytest.approx(1.0, abs=1e-3)


def test_score_of_one_objective_is_the_regret() -> None:
    """The distance to the known optimum, of the smallest value."""
    assert score(Hartmann(6), [(-3.0,), (-1.0,)]) == pytest.approx(0.32237, abs=1e-4)


def test_run_is_a_function_of_its_seed() -> None:
    """The same seed gives the same score, another one another."""
    first, again, other = (run("hartmann6", "sobol", seed, 12, 4) for seed in (0, 0, 1))
    assert first.end == again.end
    assert first.end != other.end
    assert list(space_of(ZDT1(2, num_objectives=2))) == ["x0", "x1"]
