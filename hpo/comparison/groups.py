"""What studies are compared by, and their curves by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hpo.comparison.curves import (
    Groups,
    MeanCurve,
    group_by_settings,
    over_hours,
    over_trials,
    run_of,
    stem,
    strategy_of,
)
from hpo.errors import InputError
from hpo.objectives import Direction, Objective, parse_objectives
from hpo.pareto import Row, reference_point
from hpo.study.snapshot import objective_row
from hpo.study.state import Study, TrialState


@dataclass(frozen=True)
class Measure:
    """What the curves show.

    Args:
        name: of it, for axes and tables.
        objectives: which count.
        reference: of the hypervolume (minimising); None: the incumbent of the one objective.
    """

    name: str
    objectives: Mapping[str, Objective]
    reference: Row | None

    def shown(self, level: float) -> float:
        """A level in the unit that people know."""
        [*_, own] = self.objectives.values()
        return -level if self.reference is None and own.direction is Direction.MIN else level


@dataclass(frozen=True)
class Comparison:
    """Groups of studies, and their curves."""

    measure: Measure
    groups: Groups
    trials: Mapping[str, MeanCurve]
    hours: Mapping[str, MeanCurve]
    length: int  # trials that every study has


def measure_of(studies: Sequence[Study], objective: str | None) -> Measure:
    """What the studies can be compared by.

    Raises:
        InputError: they have different objectives, or no such objective, or no result at all.
    """
    described = {study.name: study.objectives for study in studies}
    if objective:
        lacking = [name for name, own in described.items() if objective not in own]
        if lacking:
            raise InputError(
                f"--objective: expected one of all studies, got {objective}: not in {', '.join(lacking)}"
            )
        described = {name: {objective: own[objective]} for name, own in described.items()}
    first = next(iter(described.values()))
    if any(own != first for own in described.values()):
        raise InputError(
            [(name, f"optimises {_objectives_text(own)}") for name, own in described.items()],
            hint="only the same objectives can be compared; --objective NAME takes one that all have",
        )
    objectives = parse_objectives(first)
    rows = [
        objective_row(trial, objectives)
        for study in studies
        for trial in study.in_state(TrialState.COMPLETED)
    ]
    empty = [study.name for study in studies if not study.in_state(TrialState.COMPLETED)]
    if empty:
        raise InputError(f"expected studies with at least one completed trial: {', '.join(empty)} has none")
    if len(objectives) == 1:
        [name] = objectives
        return Measure(name, objectives, None)
    return Measure("hypervolume", objectives, reference_point(rows, objectives))


def _objectives_text(described: Mapping[str, Mapping[str, object]]) -> str:
    texts = []
    for name, own in described.items():
        threshold = f", threshold {own['threshold']}" if own.get("threshold") is not None else ""
        texts.append(f"{name} ({own['direction']}{threshold})")
    return ", ".join(texts)


def grouped(studies: Sequence[Study], how: str) -> dict[str, list[Study]]:
    """The studies by group, see `compare`."""
    if how == "auto":
        return group_by_settings(studies)
    key: Callable[[Study], str] = strategy_of if how == "strategy" else lambda study: stem(study.name)
    found: dict[str, list[Study]] = {}
    for study in studies:
        found.setdefault(key(study), []).append(study)
    return found


def compare_studies(groups: Mapping[str, Sequence[Study]], measure: Measure) -> Comparison:
    """Follow every study, and average over each group."""
    runs = {
        name: [run_of(study, measure.objectives, measure.reference) for study in own]
        for name, own in groups.items()
    }
    length = min(len(run.levels) for own in runs.values() for run in own)
    trials = {name: over_trials(own) for name, own in runs.items()}
    return Comparison(measure, runs, trials, {name: over_hours(own) for name, own in runs.items()}, length)
