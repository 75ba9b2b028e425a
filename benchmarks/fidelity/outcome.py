"""What a study came to, and the record of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.records import Record
from hpo.pareto import Row, front, hypervolumes

HOUR_S = 3600
Recipe = Mapping[str, Any]
Span = tuple[float, float]  # when an attempt began and ended, in seconds


@dataclass(frozen=True)
class Outcome:
    """The trials of a study that is over.

    Args:
        completed: their recipes, by their ends.
        hours: GPU-hours used until then.
        stopped: recipes of those that were stopped.
        begun: trials in all.
        objectives: how many.
    """

    completed: Sequence[Recipe]
    hours: Sequence[float]
    stopped: Sequence[Recipe]
    begun: int
    objectives: int


def summary(outcome: Outcome, reference: Row, true_values: Callable[[Recipe], Row]) -> Record:
    """Of the record: the true hypervolume of the completed trials by the GPU-hours used until then.

    Args:
        reference: point, of at least as many values as there are objectives.
        true_values: of a recipe, likewise.
    """
    count = outcome.objectives
    completed = [true_values(recipe)[:count] for recipe in outcome.completed]
    stopped = [true_values(recipe)[:count] for recipe in outcome.stopped]
    return {
        "hours_used": [round(own, 4) for own in outcome.hours],
        "volumes": [round(own, 6) for own in hypervolumes(completed, reference[:count])],
        "trials_begun": outcome.begun,
        "stopped": len(stopped),
        "regretted": regretted(completed, stopped),
    }


def regretted(completed: Sequence[Row], stopped: Sequence[Row]) -> int:
    """How many of the stopped trials would have been on the front of all of them.

    Args:
        completed: true values to minimise.
        stopped: those that they would have had at their ends.
    """
    return sum(place >= len(completed) for place in front([*completed, *stopped]))


def gpu_hours(spans: Sequence[Span], until: float) -> float:
    """Used by attempts of one GPU until a moment, those at work then included."""
    return sum(max(min(end, until) - began, 0.0) for began, end in spans) / HOUR_S
