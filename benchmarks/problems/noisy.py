"""Told values that deceive: heavy tails in the one problem, a few plainly wrong values in the other."""

from __future__ import annotations

import numpy as np

from benchmarks.problems.problem import Dimension, Params, Problem, Values
from hpo.space.space import Float

# Two spheres around these points: the front is f2 = D (1 - sqrt(f1 / D))^2, D their squared distance / d.
ONE = np.array([0.2, 0.7, 0.4, 0.8, 0.3])
OTHER = np.array([0.8, 0.2, 0.7, 0.4, 0.6])
APART = float(((ONE - OTHER) ** 2).mean())
TAILS_REFERENCE = (0.2, 0.2)
TAILS_LARGEST = 0.2**2 - APART**2 / 6  # the integral of the front from 0 to D is D^2 / 6
TAIL = 0.02  # scale of Student's t with 2 degrees of freedom, which has no variance

LOWEST = 0.8
WRONG, WRONG_SHARE = 20.0, 0.08
_BEST = np.array([0.35, 0.6, 0.25, 0.7, 0.45, 0.55])
_WEIGHTS = np.array([2.0, 1.0, 0.5, 1.5, 0.7, 0.4])


def _space(dimensions: int) -> dict[str, Dimension]:
    return {f"x{i}": Float(0.0, 1.0) for i in range(dimensions)}


def _point(params: Params) -> np.ndarray:
    return np.array([float(params[name]) for name in sorted(params)])


def tails() -> Problem:
    """Two objectives with Student's noise: one in a hundred errors is ten times the usual size."""

    def evaluate(params: Params) -> Values:
        return tuple(float(((_point(params) - centre) ** 2).mean()) for centre in (ONE, OTHER))

    def told(values: Values, generator: np.random.Generator) -> Values:
        return tuple((np.array(values) + TAIL * generator.standard_t(2, size=2)).tolist())

    return Problem(_space(5), ("y0", "y1"), evaluate, TAILS_REFERENCE, TAILS_LARGEST, told)


def outliers() -> Problem:
    """A slanted bowl of one objective; one told value in twelve is 20, whatever the truth."""

    def evaluate(params: Params) -> Values:
        away = _point(params) - _BEST
        slanted = away + 0.6 * np.roll(away, 1)
        return (float(LOWEST + (_WEIGHTS * slanted**2).sum()),)

    def told(values: Values, generator: np.random.Generator) -> Values:
        error, chance = generator.normal(), generator.random()
        return (WRONG if chance < WRONG_SHARE else float(values[0] + 0.01 * error),)

    return Problem(_space(6), ("loss",), evaluate, (), LOWEST, told)
