"""Tables of recorded fine-tunes: what each configuration came to, at its rungs and at its end. Loads nothing.

A table is a file of JSON lines, plain or compressed (`.gz`): the first line describes it, each other one is a
trial. benchmarks/finetunes/README.md says what stands in them.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from hpo.records import Metric, ParamValue
from jobs.errors import RecipeError

VERSION = 1
ERROR = "_error"  # what a metric's standard error is called, behind its name


@dataclass(frozen=True)
class Measured:
    """What a trial had come to when so much of it was done.

    Args:
        share: of the trial, in (0, 1].
        metrics: until there; what grows with the steps is not extrapolated.
    """

    share: float
    step: int
    metrics: Mapping[str, Metric]


@dataclass(frozen=True)
class RecordedFailure:
    """How a trial failed: the cause as in `hpo.records.Cause`, and the step that it did not survive."""

    cause: str
    message: str
    step: int


@dataclass(frozen=True)
class RecordedTrial:
    """A line of the table.

    Args:
        measured: at the rungs in their order; the last is the end of the trial, unless it failed.
    """

    number: int
    params: Mapping[str, ParamValue]
    measured: Sequence[Measured]
    failure: RecordedFailure | None = None


@dataclass(frozen=True)
class RecordedTable:
    """A table that was read.

    Args:
        parameters: name -> type, low, high and log, or values.
        rungs: shares of a trial, the end among them.
        untuned: metrics of the model that no trial has trained yet.
        trials: at least one, by number.
    """

    name: str
    parameters: Mapping[str, Mapping[str, Any]]
    rungs: Sequence[float]
    steps: int
    untuned: Mapping[str, Metric]
    trials: Sequence[RecordedTrial]

    def nearest(self, params: Mapping[str, ParamValue]) -> RecordedTrial:
        """The recorded trial at the least distance in the unit cube; the first of equals.

        Another value of a choice counts 1; parameters that are not given count nothing.
        """
        places = {name: self._place(name, value) for name, value in params.items()}

        def distance(trial: RecordedTrial) -> float:
            return sum(self._gap(place, self._places[trial.number][name]) for name, place in places.items())

        return min(self.trials, key=distance)

    @cached_property
    def _places(self) -> Mapping[int, Mapping[str, float | str]]:
        return {
            trial.number: {name: self._place(name, value) for name, value in trial.params.items()}
            for trial in self.trials
        }

    @staticmethod
    def _gap(one: float | str, other: float | str) -> float:
        if isinstance(one, str) or isinstance(other, str):
            return float(one != other)
        return (one - other) ** 2

    def _place(self, name: str, value: ParamValue) -> float | str:
        """Of a number, its place in the unit interval; of a choice, its name."""
        described = self.parameters[name]
        if "values" in described:
            return str(value)
        low, high, at = (float(end) for end in (described["low"], described["high"], value))
        if described.get("log"):
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low) if high > low else 0.0

    def problem(self, name: str, value: Any) -> str | None:
        """Why a value of a parameter cannot be looked up, or None."""
        described = self.parameters.get(name)
        if described is None:
            return (
                f"the table {self.name} has no such parameter, expected some of {', '.join(self.parameters)}"
            )
        if "values" in described:
            known = ", ".join(map(str, described["values"]))
            return None if value in described["values"] else f"got {value!r}, expected one of {known}"
        low, high = described["low"], described["high"]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (
            None
            if number and low <= value <= high
            else f"got {value!r}, expected a number from {low} to {high}"
        )


def load(path: Path) -> RecordedTable:
    """Read a table; once as long as the file does not change.

    Raises:
        RecipeError: it is not there, or no table.
    """
    try:
        seen = path.stat()
        return _load(path, seen.st_mtime_ns, seen.st_size)
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        expected = "expected a table of fine-tunes, as benchmarks/finetunes records them"
        raise RecipeError(f"trainer.path: got {path}, {expected}: {error!r}") from error


@lru_cache(maxsize=4)
def _load(path: Path, changed: int, size: int) -> RecordedTable:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as stream:
        whole = [line for line in stream if line.endswith("\n")]  # it may still be growing
    head, *lines = map(json.loads, whole)
    if head["table"] != VERSION:
        raise ValueError(f"table: got {head['table']!r}, expected {VERSION}")
    if not lines:
        raise ValueError("it holds no trial")
    return RecordedTable(
        name=head["name"],
        parameters=head["parameters"],
        rungs=head["rungs"],
        steps=head["recipe"]["trainer"]["max_steps"],
        untuned={"eval_loss": Metric(head["untuned"]["eval_loss"], head["untuned"]["standard_error"])},
        trials=sorted((_trial(line, head) for line in lines), key=lambda trial: trial.number),
    )


def _trial(line: Mapping[str, Any], head: Mapping[str, Any]) -> RecordedTrial:
    steps = head["recipe"]["trainer"]["max_steps"]
    measured = [Measured(rung["step"] / steps, rung["step"], _metrics(rung)) for rung in line["rungs"]]
    if line["failure"] is not None:
        return RecordedTrial(line["trial"], line["params"], measured, RecordedFailure(**line["failure"]))
    return RecordedTrial(
        line["trial"], line["params"], [*measured, Measured(1.0, steps, _metrics(line["metrics"]))]
    )


def _metrics(values: Mapping[str, Any]) -> dict[str, Metric]:
    named = {name: value for name, value in values.items() if name not in ("rung", "step")}
    return {
        name: Metric(float(value), values.get(f"{name}{ERROR}"))
        for name, value in named.items()
        if not name.endswith(ERROR)
    }
