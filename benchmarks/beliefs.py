"""This project's optimiser with a belief in every parameter, right or misleading.

The usual values are a configuration among `DRAWN` random ones: the best of them, as a recipe of somebody
else's would be good and not the best, or the worst. Best is the smallest value, with several objectives the
smallest augmented Chebyshev distance from the ideal, each objective in shares of its range.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from benchmarks.problems import Params, Problem, make
from benchmarks.problems.problem import random_columns

DRAWN = 200


def believing(name: str, which: str) -> Problem:
    """A problem whose space says what is usual.

    Args:
        name: of the problem.
        which: `best` or `worst` of the random configurations.
    """
    problem, usual = make(name), ranked(name)[0 if which == "best" else -1]
    space: dict[str, Any] = dict(problem.space)
    space = {key: replace(dimension, usual=usual[key]) for key, dimension in space.items()}
    return replace(problem, space=space)


@cache
def ranked(name: str) -> list[Params]:
    """The random configurations that do not fail, the best first."""
    problem = make(name)
    columns = random_columns(problem.space, DRAWN, seed=0)
    configurations = [{key: column[i].item() for key, column in columns.items()} for i in range(DRAWN)]
    values = [problem.evaluate(params) for params in configurations]
    Y = np.array([row for row in values if row is not None])
    away = (Y - Y.min(0)) / np.ptp(Y, axis=0)
    order = np.argsort(away.max(1) + 0.05 * away.sum(1), kind="stable")
    working = [params for params, row in zip(configurations, values, strict=True) if row is not None]
    return [working[index] for index in order]
