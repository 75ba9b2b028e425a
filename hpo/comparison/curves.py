"""Studies side by side: what each group of them had found after so many trials and GPU-hours.

Inside, a level is a number that is better the higher it is: the hypervolume, or an objective's incumbent with
its sign turned where less is better. A group is made of studies that differ in their seeds alone, and what
differs inside a group is noise. Standard library only.

References:
    [Ernst2004] M. D. Ernst. Permutation methods: a basis for exact inference. Statistical Science 19,
        2004.
"""

from __future__ import annotations

import json
import math
import random
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations

from hpo.objectives import Objectives
from hpo.pareto import Row, hypervolumes, incumbents
from hpo.study.gpu_hours import measured
from hpo.study.snapshot import objective_row
from hpo.study.state import Study, TrialState

MOST_SPLITS = 20_000  # of a permutation test that is exact; above, so many are drawn
POINTS = 200  # of a curve over GPU-hours
_EQUAL = 1e-12  # of the difference: two sums of the same numbers in another order


@dataclass(frozen=True)
class Trajectory:
    """One study: the level after each trial that has ended, and the GPU-hours spent by then.

    Args:
        levels: NaN before the first result of an incumbent.
    """

    name: str
    seed: int | None
    levels: Sequence[float]
    hours: Sequence[float]


Groups = Mapping[str, Sequence[Trajectory]]


@dataclass(frozen=True)
class MeanCurve:
    """The mean over a group's studies.

    Args:
        x: trials or GPU-hours.
        error: standard error of the mean; NaN for a single study.
    """

    x: Sequence[float]
    mean: Sequence[float]
    error: Sequence[float]


@dataclass(frozen=True)
class Verdict:
    """What a permutation test says of two groups.

    Args:
        difference: of the means, first minus second.
        p: two-sided probability of a difference as large if the labels meant nothing.
        smallest: that groups of these sizes can give.
    """

    difference: float
    p: float
    smallest: float


def run_of(study: Study, objectives: Objectives, reference: Row | None) -> Trajectory:
    """Follow one study.

    Args:
        study: as the journal tells it; failed trials count as trials, cancelled ones do not.
        objectives: what counts.
        reference: reference point of the hypervolume (minimising); None for the incumbent of one objective.
    """
    spent, hours = 0.0, {}
    for end in study.ends:
        seconds, gpus = measured(study, end)
        spent += seconds * gpus / 3600
        hours[end.trial] = spent
    ended = study.in_state(TrialState.COMPLETED, TrialState.FAILED)
    ended.sort(key=lambda trial: (trial.ended_at, trial.number))
    rows = [
        objective_row(trial, objectives) if trial.state is TrialState.COMPLETED else None for trial in ended
    ]
    levels = _turned(rows) if reference is None else hypervolumes(rows, reference)
    seed = study.identity.get("study", {}).get("seed")
    return Trajectory(study.name, seed, levels, _rising([hours.get(trial.id, 0.0) for trial in ended]))


def _turned(rows: Sequence[Row | None]) -> list[float]:
    """The incumbents of one objective with their sign turned, so that more is better."""
    return [-best for best in incumbents(None if row is None else row[0] for row in rows)]


def _rising(values: Sequence[float]) -> list[float]:
    return list(accumulate(values, max, initial=0.0))[1:]


def group_by_settings(studies: Sequence[Study]) -> dict[str, list[Study]]:
    """The studies that differ in nothing but their seeds, named by their strategy where that tells."""
    by_settings: dict[str, list[Study]] = {}
    for study in studies:
        identity = {**study.identity, "study": {**study.identity.get("study", {}), "seed": None}}
        settings = {name: study.settings.get(name) for name in ("strategy", "batch")}
        if "batch_auto" in study.settings:
            settings["batch"] = "auto"  # the same study, whatever room its site had at the time
        by_settings.setdefault(json.dumps([identity, settings], sort_keys=True), []).append(study)
    groups = list(by_settings.values())
    names = [strategy_of(group[0]) for group in groups]
    if len(set(names)) < len(names):
        names = [stem(group[0].name) for group in groups]
    if len(set(names)) < len(names):
        names = [f"{name} ({group[0].name})" for name, group in zip(names, groups, strict=True)]
    return dict(zip(names, groups, strict=True))


def strategy_of(study: Study) -> str:
    """The name of a study's strategy."""
    return str(study.settings.get("strategy", {}).get("name", study.name))


def stem(name: str) -> str:
    """A study's name without the number at its end: `bo-seed3` and `bo_3` are `bo-seed` and `bo`."""
    return re.sub(r"[-_.]*\d+$", "", name) or name


def over_trials(runs: Sequence[Trajectory]) -> MeanCurve:
    """The mean level after each number of trials that all runs have reached."""
    length = min(len(run.levels) for run in runs)
    return _mean([run.levels[:length] for run in runs], [float(count) for count in range(1, length + 1)])


def over_hours(runs: Sequence[Trajectory], points: int = POINTS) -> MeanCurve:
    """The mean level at GPU-hours that all runs have spent, from the first at which all have a result."""
    start = max((run.hours[0] for run in runs if run.hours), default=0.0)
    end = min(run.hours[-1] if run.hours else 0.0 for run in runs)
    if end <= start:
        return MeanCurve([], [], [])
    x = [start + (end - start) * step / (points - 1) for step in range(points)]
    return _mean([[run.levels[bisect_right(run.hours, at) - 1] for at in x] for run in runs], x)


def _mean(levels: Sequence[Sequence[float]], x: Sequence[float]) -> MeanCurve:
    kept: list[tuple[float, float, float]] = []
    for at, column in zip(x, zip(*levels, strict=True), strict=True):
        if all(map(math.isfinite, column)):
            mean = math.fsum(column) / len(column)
            kept.append((at, mean, _standard_error(column, mean)))
    return (
        MeanCurve(*(tuple(values) for values in zip(*kept, strict=True))) if kept else MeanCurve([], [], [])
    )


def _standard_error(values: Sequence[float], mean: float) -> float:
    if len(values) < 2:
        return math.nan
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def trials_to_reach(curve: MeanCurve, level: float) -> int | None:
    """After how many trials a group's mean is at a level; None where it never is."""
    return next((int(at) for at, mean in zip(curve.x, curve.mean, strict=True) if mean >= level), None)


def area(run: Trajectory, length: int) -> float:
    """The mean level over the first trials, from the first result on: who is early counts."""
    levels = [level for level in run.levels[:length] if math.isfinite(level)]
    return math.fsum(levels) / len(levels) if levels else math.nan


def permutation_test(first: Sequence[float], second: Sequence[float]) -> Verdict:
    """Two-sided permutation test on the difference of means [Ernst2004].

    Exact where there are at most `MOST_SPLITS` ways to deal the values out; else as many are drawn, from a
    fixed seed.

    Args:
        first: a value for each study of a group, at least one; so `second`.
    """
    values, size = [*first, *second], len(first)
    observed = _gap(values, range(size))
    splits = math.comb(len(values), size)
    enough = abs(observed) - _EQUAL * max(map(abs, values), default=0.0)
    smallest = (2 if size == len(second) else 1) / splits
    if splits <= MOST_SPLITS:
        chosen = combinations(range(len(values)), size)
        return Verdict(
            observed, sum(abs(_gap(values, split)) >= enough for split in chosen) / splits, smallest
        )
    chance = random.Random(0)
    drawn = (chance.sample(range(len(values)), size) for _ in range(MOST_SPLITS))
    count = sum(abs(_gap(values, split)) >= enough for split in drawn)
    return Verdict(observed, (count + 1) / (MOST_SPLITS + 1), smallest)


def _gap(values: Sequence[float], first: Sequence[int]) -> float:
    """The mean of the values at these places, less that of the others."""
    inside = math.fsum(values[place] for place in first)
    others = len(values) - len(first)
    return inside / len(first) - (math.fsum(values) - inside) / others


def seeds_for(alpha: float) -> int:
    """How many studies a group must have for the test to be able to give a p below alpha, in equal groups."""
    size = 2
    while 2 / math.comb(2 * size, size) >= alpha:
        size += 1
    return size
