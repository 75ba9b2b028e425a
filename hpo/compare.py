"""`compare`: several studies side by side, as curves, tables and a statement of what is beyond noise."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hpo.comparison import (
    Curve,
    Groups,
    Run,
    Verdict,
    area,
    group_by_settings,
    over_hours,
    over_trials,
    permutation_test,
    run_of,
    seeds_for,
    stem,
    strategy_of,
    trials_to_reach,
)
from hpo.errors import InputError
from hpo.journal import load_study
from hpo.objectives import Direction, Objective, parse_objectives
from hpo.pareto import Row, reference_point
from hpo.records import write_text
from hpo.snapshot import objective_row
from hpo.store import find_study
from hpo.study import Study, TrialState
from hpo.tables import number

ALPHA = 0.05  # a difference is called beyond noise where p is below


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
    trials: Mapping[str, Curve]
    hours: Mapping[str, Curve]
    length: int  # trials that every study has


def compare(
    names: Sequence[str], root: Path, group: str, objective: str | None, to: Path, console: Console
) -> int:
    """Set studies side by side.

    Args:
        names: of study folders, or names under `root`; finished or not.
        root: the study root.
        group: auto (what differs in the seed alone), strategy, or name (without the number at its end).
        objective: whose incumbent is compared; None: the hypervolume, or the only objective.
        to: folder for the picture and the CSV file.
        console: where to show the tables.

    Raises:
        InputError: studies that are not there, that optimise different things, or have no result.
    """
    studies = [load_study(find_study(name, root).journal) for name in dict.fromkeys(names)]
    measure = measure_of(studies, objective)
    compared = compare_studies(grouped(studies, group), measure)
    _show(compared, console)
    to.mkdir(parents=True, exist_ok=True)
    write_text(to / "curves.csv", curves_csv(compared))
    console.print(str(to / "curves.csv"), highlight=False, soft_wrap=True)
    try:
        from hpo.comparison_figures import draw
    except ImportError as error:
        console.print(f"no picture: {error}; pip install 'frontrunner[report]'", highlight=False)
        return 0
    draw(compared, to / "curves.png")
    console.print(str(to / "curves.png"), highlight=False, soft_wrap=True)
    return 0


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


def _show(compared: Comparison, console: Console) -> None:
    measure = compared.measure
    if measure.reference is None:
        [(name, own)] = measure.objectives.items()
        console.print(f"incumbent of {name} ({own.direction}): the best value so far", highlight=False)
    else:
        point = ", ".join(
            f"{name}={number(own.minimised(value))}"
            for (name, own), value in zip(measure.objectives.items(), measure.reference, strict=True)
        )
        rule = "one reference point for all, from the front of all studies together"
        console.print(f"hypervolume within {point}: {rule}", highlight=False, soft_wrap=True)
    console.print(f"\nafter {compared.length} trials each", highlight=False)
    console.print(_group_table(compared))
    if len(compared.groups) > 1:
        console.print("\ntrials until the mean reaches the final level of", highlight=False)
        console.print(_reach_table(compared), "")
        for line in statements(compared):
            console.print(line, highlight=False, soft_wrap=True)


def _group_table(compared: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("group", "studies", "seeds", compared.measure.name, "standard error", "GPU-hours"):
        table.add_column(title, justify="left" if title in ("group", "seeds") else "right")
    for name, runs in compared.groups.items():
        at = compared.length - 1
        curve = compared.trials[name]
        place = list(curve.x).index(compared.length) if compared.length in curve.x else None
        level = "" if place is None else number(compared.measure.shown(curve.mean[place]))
        error = "" if place is None or math.isnan(curve.error[place]) else f"{curve.error[place]:.2g}"
        hours = sum(run.hours[at] for run in runs) / len(runs)
        seeds = " ".join(str(run.seed) for run in runs)
        table.add_row(name, str(len(runs)), seeds, level, error, number(hours))
    return table


def _reach_table(compared: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("group")
    for name in compared.groups:
        table.add_column(name, justify="right")
    for name in compared.groups:
        cells = []
        for other in compared.groups:
            level = _final(compared, other)
            count = None if level is None else trials_to_reach(_cut(compared, name), level)
            missed = "" if level is None else f"not in {compared.length}"
            cells.append(missed if count is None else str(count))
        table.add_row(name, *cells)
    return table


def _cut(compared: Comparison, name: str) -> Curve:
    curve = compared.trials[name]
    kept = [place for place, at in enumerate(curve.x) if at <= compared.length]
    return Curve(*([values[place] for place in kept] for values in (curve.x, curve.mean, curve.error)))


def _final(compared: Comparison, name: str) -> float | None:
    means = _cut(compared, name).mean
    return means[-1] if means else None


def statements(compared: Comparison) -> Iterator[str]:
    """For each two groups, whether they differ beyond noise, and by which test."""
    for first, second in combinations(compared.groups, 2):
        own, other = compared.groups[first], compared.groups[second]
        yield from _two_statements(compared, (first, second), [own, other])


def _two_statements(
    compared: Comparison, names: tuple[str, str], runs: Sequence[Sequence[Run]]
) -> Iterator[str]:
    """Of where the groups have got to, and of how soon they were there."""
    name, length = compared.measure.name, compared.length
    finals = [[run.levels[length - 1] for run in own] for own in runs]
    areas = [[area(run, length) for run in own] for own in runs]
    for what, values in ((f"final {name}", finals), (f"mean {name} over the trials", areas)):
        if all(map(math.isfinite, (*values[0], *values[1]))):
            yield _statement(names, what, values, permutation_test(*values))


def _statement(names: tuple[str, str], what: str, values: Sequence[Sequence[float]], verdict: Verdict) -> str:
    sizes = [len(own) for own in values]
    better, worse = names if verdict.difference >= 0 else names[::-1]
    head = f"{what}: {better} is better than {worse}" if verdict.difference else f"{what}: no difference"
    if min(sizes) < 2 and verdict.smallest >= ALPHA:
        return f"{head}; with a single study in a group nothing can be said of noise"
    exact = f"permutation test over {sizes[0]} and {sizes[1]} studies, two-sided p = {verdict.p:.3g}"
    if verdict.p < ALPHA:
        return f"{head}, beyond noise ({exact})"
    if verdict.smallest >= ALPHA:
        limit = f"the smallest that so few can give is {verdict.smallest:.2g}"
        return f"{head}, not shown to be beyond noise ({exact}; {limit}: take {seeds_for(ALPHA)} seeds each)"
    return f"{head}, not beyond noise ({exact})"


def curves_csv(compared: Comparison) -> str:
    """Every curve, long: group, axis, x, mean, standard error, studies."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", "axis", "x", f"{compared.measure.name}_mean", "standard_error", "studies"])
    for axis, curves in (("trials", compared.trials), ("gpu_hours", compared.hours)):
        for name, curve in curves.items():
            for at, mean, error in zip(curve.x, curve.mean, curve.error, strict=True):
                spread: object = "" if math.isnan(error) else error
                shown = compared.measure.shown(mean)
                writer.writerow([name, axis, at, shown, spread, len(compared.groups[name])])
    return text.getvalue()
