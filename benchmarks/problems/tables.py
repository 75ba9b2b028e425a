"""Tables of real trainings as problems: what was recorded is the truth.

A table is `tables/NAME.csv`, one row a configuration, and `tables/NAME.yaml`: the space and the objectives,
as a study's. A configuration that is not in it has the values of the nearest one: by the distance in the
unit cube, in which another value of an unordered choice counts 1. An empty value is a trial that failed.
With a column `OBJECTIVE_error` what is told has normal noise of its median. The reference point follows the
rule of `hpo.pareto.reference_point` over all rows, and the largest hypervolume, or the smallest value, is
that of the table.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from benchmarks.problems.problem import Noise, Params, Problem, Values
from hpo.objectives import parse_objectives
from hpo.pareto import front, hypervolume, reference_point
from hpo.space.space import Choice, SearchSpace, parse_space

TABLES = Path(__file__).parent / "tables"
Rows = list[dict[str, str]]


def table(name: str, folder: Path = TABLES) -> Problem:
    """The problem of a recorded table; every objective of it is minimised."""
    described = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    space, objectives = parse_space(described["space"]), described["objectives"]
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    points = np.array([space.to_unit(_params(space, row)) for row in rows])
    values = [_values(row, objectives) for row in rows]
    known = [row for row in values if row is not None]
    unordered = np.array([isinstance(own, Choice) and not own.ordered for own in space.dimensions.values()])

    def evaluate(params: Params) -> Values | None:
        away = np.abs(points - np.array(space.to_unit(params)))
        away = np.where(unordered, away > 1e-9, away)
        return values[int((away**2).sum(1).argmin())]

    reference: Values = ()
    if len(objectives) > 1:
        reference = reference_point(known, parse_objectives(dict.fromkeys(objectives, "min")))
    best = hypervolume([known[i] for i in front(known)], reference) if reference else min(known)[0]
    return Problem(space.dimensions, tuple(objectives), evaluate, reference, best, _noise(rows, objectives))


def _params(space: SearchSpace, row: Mapping[str, str]) -> Params:
    """The values of a row, whose text is as `csv` wrote it."""
    read = {name: yaml.safe_load(row[name]) for name in space.dimensions}
    return {name: float(value) if isinstance(value, float) else value for name, value in read.items()}


def _values(row: Mapping[str, str], objectives: list[str]) -> Values | None:
    values = tuple(float(row[name] or "nan") for name in objectives)
    return values if all(map(math.isfinite, values)) else None


def _noise(rows: Rows, objectives: list[str]) -> Noise | None:
    columns = [
        [float(row[key]) for row in rows if row.get(key)] for key in (f"{o}_error" for o in objectives)
    ]
    if not any(columns):
        return None
    errors = np.array([statistics.median(column) if column else 0.0 for column in columns])

    def told(values: Values, generator: np.random.Generator) -> Values:
        return tuple((np.array(values) + errors * generator.normal(size=len(errors))).tolist())

    return told
