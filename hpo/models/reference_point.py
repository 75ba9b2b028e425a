"""Where the expected hypervolume is measured from, inferred from what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpo.models.distances import Array
from hpo.models.surrogate import Surrogate
from hpo.objectives import Objective
from hpo.pareto import front

# Margins of the two reference points, in shares of the range. Chosen by measurement, see docs/optimiser.md: a
# near one spends trials between the ends of the front, a far one on the ends. With two objectives every third
# trial is for the far one; more objectives mean more ends, and every other one is.
_NEAR, _FAR = 0.01, 3.0
_FOR_NEAR = 2  # of the trials of a turn, the first ones
_LONGEST_TURN = 4


@dataclass(frozen=True)
class References:
    """Two reference points.

    Args:
        near: m coordinates in the gains' units, just beyond the worst values of the observed front.
        far: m coordinates, several ranges beyond: the ends of the front count for more.
    """

    near: Array
    far: Array

    def of_trial(self, number: int) -> Array:
        """Which one the trial of this number, from 0, is to improve."""
        return self.near if number % min(len(self.near) + 1, _LONGEST_TURN) < _FOR_NEAR else self.far


def infer_references(surrogate: Surrogate, objectives: list[Objective]) -> References:
    """Reference points from the observed values; an objective's threshold is its coordinate in both.

    A threshold that no result reaches yet is left aside: beyond everything known there is no gain to compare.

    Args:
        surrogate: fitted to n rows.
        objectives: m of them.
    """
    return References(*(reference_beyond(surrogate, objectives, margin) for margin in (_NEAR, _FAR)))


def reference_beyond(surrogate: Surrogate, objectives: list[Objective], margin: float) -> Array:
    """A reference point so many ranges of the observed front beyond it; see `infer_references`."""
    U = surrogate.gained
    best = U[front((-U).tolist())]
    span = np.maximum(best.max(0) - best.min(0), 0.5 * (U.max(0) - U.min(0)))
    span[span == 0] = 1.0
    reference = best.min(0) - margin * span
    for column, objective in enumerate(objectives):
        bound = threshold_gain(surrogate, column, objective)
        if bound is not None and bound < U[:, column].max():
            reference[column] = bound
    return np.asarray(reference)


def threshold_gain(surrogate: Surrogate, column: int, objective: Objective) -> float | None:
    """An objective's threshold in the gain's unit, if it has one."""
    if objective.threshold is None:
        return None
    turned = np.array(-objective.minimised(objective.threshold))
    return float(surrogate.transforms[column].gained(turned))


def unreached(surrogate: Surrogate, objectives: Mapping[str, Objective]) -> list[str]:
    """The objectives with a threshold that no result reaches."""
    bounds = [
        threshold_gain(surrogate, column, objective) for column, objective in enumerate(objectives.values())
    ]
    best = surrogate.gained.max(0)
    return [
        name
        for name, bound, reached in zip(objectives, bounds, best, strict=True)
        if bound is not None and bound >= reached
    ]
