"""Integers of many levels on both scales: a curved valley, with the smallest value 0 at one configuration."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.problems.problem import Dimension, Params, Problem, Values
from hpo.space.space import Float, Integer

SPACE: dict[str, Dimension] = {
    "units": Integer(1, 4096, log=True),
    "tokens": Integer(0, 1000),
    "rank": Integer(1, 512),
    "steps": Integer(10, 5000),
    "share": Float(0.0, 1.0),
}
OPTIMUM: Params = {"units": 256, "tokens": 350, "rank": 96, "steps": 1800, "share": 0.3}


def _scaled(params: Params) -> np.ndarray:
    units = math.log2(float(params["units"])) / 12
    shares = [float(params[name]) / most for name, most in (("tokens", 1000), ("rank", 512), ("steps", 5000))]
    return np.array([units, *shares, float(params["share"])])


def levels() -> Problem:
    """One objective: each parameter's best value moves along a parabola with the one before it."""

    def evaluate(params: Params) -> Values:
        away = _scaled(params) - _scaled(OPTIMUM)
        bent = away[1:] - 0.8 * away[:-1] - away[:-1] ** 2
        return (float(30 * (bent**2).sum() + 2 * (away**2).sum()),)

    return Problem(SPACE, ("loss",), evaluate, (), 0.0)
