"""Problems of BoTorch's test functions, and Ackley's with integers and its optimum moved."""

from __future__ import annotations

import math
from typing import Any

import torch
from botorch.test_functions.base import BaseTestProblem
from botorch.test_functions.synthetic import Ackley

from benchmarks.problems.problem import Dimension, Params, Problem, Values
from hpo.space.space import Float, Integer

# The library's own reference point of the ZDT functions, (11, 11), gives random search 0.81 of ZDT1 and every
# model 0.99.
ZDT_REFERENCE = (1.1, 1.1)
ZDT1_LARGEST = 0.1 + 2 / 3 + 0.11  # the area between the front 1 - sqrt(x) and that point
ZDT2_LARGEST = 0.1 + 1 / 3 + 0.11  # and the front 1 - x^2
# Off the default centre, off the bounds; the first three are integers as their dimensions are.
ACKLEY_OPTIMUM = (-2, 5, 1, -3.13, 4.21, 0.74, 6.38, -1.46, 7.72, 3.9)


def dtlz2_largest(objectives: int) -> float:
    """The volume between the unit sphere's part in the positive orthant and the point (1.1, 1.1, ...)."""
    ball: float = math.pi ** (objectives / 2) / math.gamma(objectives / 2 + 1)
    return float(1.1**objectives - ball / 2**objectives)


def of_library(function: BaseTestProblem, reference: Values = (), largest: float = 0.0) -> Problem:
    """A box-bounded problem of BoTorch; its own reference point and largest value where none is given."""
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


def ackley_integers() -> Problem:
    """Ackley in 10 dimensions of [-5, 10], the first three integers, its optimum of 0 moved."""
    function = Ackley(10)
    space: dict[str, Dimension] = {
        f"x{i}": Integer(-5, 10) if i < 3 else Float(-5.0, 10.0) for i in range(10)
    }

    def evaluate(params: Params) -> Values:
        moved = [[float(params[name]) - at for name, at in zip(space, ACKLEY_OPTIMUM, strict=True)]]
        return (float(function.evaluate_true(torch.tensor(moved, dtype=torch.float64))),)

    return Problem(space, ("y0",), evaluate, (), 0.0)
