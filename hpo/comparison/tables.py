"""A comparison as text: tables, statements of what is beyond noise, and the curves as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from rich.console import Console
from rich.table import Table

from hpo.comparison.arm_gains import ArmGain
from hpo.comparison.curves import (
    MeanCurve,
    Trajectory,
    Verdict,
    area,
    permutation_test,
    seeds_for,
    trials_to_reach,
)
from hpo.comparison.groups import Comparison
from hpo.formatting import number
from hpo.objectives import Objective
from hpo.study.snapshot import objective_row
from hpo.study.state import Trial

ALPHA = 0.05  # a difference is called beyond noise where p is below


def show(compared: Comparison, console: Console) -> None:
    """Print the tables of a comparison, and what is beyond noise."""
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


def _cut(compared: Comparison, name: str) -> MeanCurve:
    curve = compared.trials[name]
    kept = [place for place, at in enumerate(curve.x) if at <= compared.length]
    return MeanCurve(*([values[place] for place in kept] for values in (curve.x, curve.mean, curve.error)))


def _final(compared: Comparison, name: str) -> float | None:
    means = _cut(compared, name).mean
    return means[-1] if means else None


def statements(compared: Comparison) -> Iterator[str]:
    """For each two groups, whether they differ beyond noise, and by which test."""
    for first, second in combinations(compared.groups, 2):
        own, other = compared.groups[first], compared.groups[second]
        yield from _two_statements(compared, (first, second), [own, other])


def _two_statements(
    compared: Comparison, names: tuple[str, str], runs: Sequence[Sequence[Trajectory]]
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


def arms_table(
    name: str, pilot: list[Trial], gains: Mapping[str, ArmGain], objectives: Mapping[str, Objective]
) -> Table:
    """The study, and what each arm added to it, a row each."""
    table = Table(title=f"Arms of {name}", title_justify="left", box=None, pad_edge=False)
    for title in ("arm", "trials", "on the front, and better than the study's"):
        table.add_column(title, justify="left" if title == "arm" else "right")
    single = len(objectives) == 1
    table.add_column(
        f"best {next(iter(objectives))}" if single else "hypervolume, as a ratio", justify="right"
    )
    rows = [objective_row(trial, objectives) for trial in pilot]
    sign = -1.0 if single and next(iter(objectives.values())).direction == "max" else 1.0
    best = number(sign * min(rows)[0]) if single and rows else "1"
    table.add_row("(the study)", str(len(pilot)), "", best)
    for arm, gain in gains.items():
        volume = "the study's is 0" if math.isnan(gain.volume) else number(gain.volume)
        value = number(sign * min([*rows, *gain.rows])[0]) if single and rows else volume
        table.add_row(arm, str(len(gain.trials)), f"{gain.extends} of {len(gain.trials)}", value)
    return table
