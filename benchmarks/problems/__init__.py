"""The problems, in two halves: choices are made on `tuning`, and their effect is reported on `reporting`.

Each half has problems of every kind; none of the reporting half was looked at when a default was chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from botorch.test_functions.multi_objective import (
    DTLZ2,
    ZDT1,
    ZDT2,
    BraninCurrin,
    CarSideImpact,
    Penicillin,
    VehicleSafety,
)
from botorch.test_functions.synthetic import Hartmann, Levy

from benchmarks.problems import cliffs, conditional, levels, library, mixed, noisy, qlora
from benchmarks.problems.problem import Dimension, Params, Problem, Values
from benchmarks.problems.tables import table

__all__ = ["HALVES", "PROBLEMS", "Dimension", "Params", "Problem", "Values", "make"]

Half = Literal["tuning", "reporting"]


@dataclass(frozen=True)
class Entry:
    """A problem of the benchmark: its half, what kind it is of, and how it is made."""

    half: Half
    kind: str
    make: Callable[[], Problem]


def _dtlz2(dimensions: int, objectives: int) -> Problem:
    function = DTLZ2(dimensions, num_objectives=objectives)
    return library.of_library(function, largest=library.dtlz2_largest(objectives))


def _zdt(function: ZDT1 | ZDT2, largest: float) -> Problem:
    return library.of_library(function, library.ZDT_REFERENCE, largest)


PROBLEMS: dict[str, Entry] = {
    "branin_currin": Entry("tuning", "smooth, two objectives", lambda: library.of_library(BraninCurrin())),
    "dtlz2": Entry("tuning", "smooth, two objectives", lambda: _dtlz2(6, 2)),
    "zdt1": Entry(
        "tuning", "smooth, two objectives", lambda: _zdt(ZDT1(8, num_objectives=2), library.ZDT1_LARGEST)
    ),
    "vehicle_safety": Entry("tuning", "three objectives", lambda: library.of_library(VehicleSafety())),
    "car_side_impact": Entry(
        "tuning", "four and more objectives", lambda: library.of_library(CarSideImpact())
    ),
    "hartmann6": Entry("tuning", "smooth, one objective", lambda: library.of_library(Hartmann(6))),
    "ackley10_integers": Entry("tuning", "integers", library.ackley_integers),
    "qlora": Entry("tuning", "mixed with failures and noise", qlora.qlora),
    "cliff": Entry("tuning", "a cliff", cliffs.cliff),
    "tails": Entry("tuning", "told values that deceive", noisy.tails),
    "optimisers": Entry("tuning", "conditions", conditional.optimisers),
    "digits": Entry("tuning", "a table of trainings", lambda: table("digits")),
    "zdt2": Entry(
        "reporting", "smooth, two objectives", lambda: _zdt(ZDT2(8, num_objectives=2), library.ZDT2_LARGEST)
    ),
    "penicillin": Entry("reporting", "three objectives", lambda: library.of_library(Penicillin())),
    "dtlz2_six": Entry("reporting", "four and more objectives", lambda: _dtlz2(8, 6)),
    "levy4": Entry("reporting", "smooth, one objective", lambda: library.of_library(Levy(4))),
    "levels": Entry("reporting", "integers", levels.levels),
    "pretraining": Entry("reporting", "mixed with failures and noise", mixed.pretraining),
    "cliff_priced": Entry("reporting", "a cliff", cliffs.priced),
    "outliers": Entry("reporting", "told values that deceive", noisy.outliers),
    "adapters": Entry("reporting", "conditions", conditional.adapters),
    "trees": Entry("reporting", "a table of trainings", lambda: table("trees")),
}
HALVES: dict[str, tuple[str, ...]] = {
    half: tuple(name for name, entry in PROBLEMS.items() if entry.half == half)
    for half in ("tuning", "reporting")
}


@cache
def make(name: str) -> Problem:
    """The problem of a name of `PROBLEMS`."""
    return PROBLEMS[name].make()
