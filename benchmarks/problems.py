"""Problems with known noiseless values, and how a run on them is scored.

Every objective is minimised. No optimiser is told a reference point or an optimum: they are for scoring only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from botorch.test_functions.base import BaseTestProblem
from botorch.test_functions.multi_objective import DTLZ2, ZDT1, BraninCurrin, CarSideImpact, VehicleSafety
from botorch.test_functions.synthetic import Ackley, Hartmann

from benchmarks import qlora
from hpo.pareto import hypervolume
from hpo.space.space import Choice, Float, Integer

Dimension = Float | Integer | Choice
Params = Mapping[str, float | int | str]
Values = tuple[float, ...]

# The library's own reference point of ZDT1, (11, 11), gives random search 0.81 and every model 0.99.
_ZDT1_REFERENCE = (1.1, 1.1)
_ZDT1_LARGEST = 0.1 + 2 / 3 + 0.11  # the area between the front 1 - sqrt(x) and that point
# Off the default centre, off the bounds; the first three are integers as their dimensions are.
ACKLEY_OPTIMUM = (-2, 5, 1, -3.13, 4.21, 0.74, 6.38, -1.46, 7.72, 3.9)


@dataclass(frozen=True)
class Problem:
    """What to minimise, and how a set of values is scored.

    Args:
        space: name -> dimension.
        objectives: names, in the order of the values.
        evaluate: noiseless values of a configuration; None where its trial fails.
        reference: the reference point; empty with one objective.
        largest: the hypervolume of the true front from there, or the smallest value with one objective.
        noise: standard deviation of the error of each told value, as a share of the value.
    """

    space: Mapping[str, Dimension]
    objectives: tuple[str, ...]
    evaluate: Callable[[Params], Values | None]
    reference: Values
    largest: float
    noise: Values = ()

    @property
    def is_regret(self) -> bool:
        """Whether less is better in the score."""
        return not self.reference

    def observe(self, values: Values, seed: int, number: int) -> Values:
        """The values as told: one noise for every optimiser at the same trial number of the same seed."""
        if not self.noise:
            return values
        errors = np.random.default_rng([seed, number]).normal(size=len(values))
        return tuple(
            float(value * (1 + share * error))
            for value, share, error in zip(values, self.noise, errors, strict=True)
        )

    def score(self, values: Sequence[Values]) -> float:
        """The share of the largest hypervolume (1 is the true front), or the simple regret.

        Args:
            values: noiseless, of the trials that did not fail; none scores 0, or NaN as a regret.
        """
        if self.is_regret:
            return min((value for (value,) in values), default=float("nan")) - self.largest
        return hypervolume(values, self.reference) / self.largest

    def curve(self, values: Sequence[Values | None]) -> list[float]:
        """The score after each trial; a failed one, None, leaves it as it was."""
        scores: list[float] = []
        known: list[Values] = []
        for row in values:
            if row is not None:
                known.append(row)
            if row is None and scores:
                scores.append(scores[-1])
            else:
                scores.append(self.score(known))
        return scores


def _of_library(function: BaseTestProblem, reference: Values = (), largest: float = 0.0) -> Problem:
    """A box-bounded problem of botorch; its own reference point and largest value where none is given."""
    known: Any = function  # its types know no attribute of a kind of problem
    low, high = known.bounds.tolist()
    names = [f"x{i}" for i in range(function.dim)]

    def evaluate(params: Params) -> Values:
        point = torch.tensor([[float(params[name]) for name in names]], dtype=torch.float64)
        return tuple(function.evaluate_true(point).reshape(-1).tolist())

    if hasattr(function, "ref_point"):
        reference, largest = reference or tuple(known.ref_point.tolist()), largest or known._max_hv
    else:
        reference, largest = (), known.optimal_value
    return Problem(
        {name: Float(a, b) for name, a, b in zip(names, low, high, strict=True)},
        tuple(f"y{i}" for i in range(getattr(function, "num_objectives", 1))),
        evaluate,
        reference,
        largest,
    )


def _ackley_integers() -> Problem:
    """Ackley in 10 dimensions of [-5, 10], the first three integers, its optimum of 0 moved."""
    function = Ackley(10)
    space: dict[str, Dimension] = {
        f"x{i}": Integer(-5, 10) if i < 3 else Float(-5.0, 10.0) for i in range(10)
    }

    def evaluate(params: Params) -> Values:
        moved = [[float(params[name]) - at for name, at in zip(space, ACKLEY_OPTIMUM, strict=True)]]
        return (float(function.evaluate_true(torch.tensor(moved, dtype=torch.float64))),)

    return Problem(space, ("y0",), evaluate, (), 0.0)


def _qlora() -> Problem:
    return Problem(qlora.SPACE, qlora.OBJECTIVES, qlora.evaluate, qlora.REFERENCE, qlora.LARGEST, qlora.NOISE)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "branin_currin": lambda: _of_library(BraninCurrin()),
    "dtlz2": lambda: _of_library(DTLZ2(6, num_objectives=2)),
    "zdt1": lambda: _of_library(ZDT1(8, num_objectives=2), _ZDT1_REFERENCE, _ZDT1_LARGEST),
    "vehicle_safety": lambda: _of_library(VehicleSafety()),
    "car_side_impact": lambda: _of_library(CarSideImpact()),
    "hartmann6": lambda: _of_library(Hartmann(6)),
    "ackley10_integers": _ackley_integers,
    "qlora": _qlora,
}


@cache
def make(name: str) -> Problem:
    """The problem of a name of `PROBLEMS`."""
    return PROBLEMS[name]()
