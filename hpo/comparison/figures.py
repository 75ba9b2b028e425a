"""Pictures: a comparison's curves with bands of one standard error, and the fronts of arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpo.comparison.arm_gains import ArmGain
from hpo.comparison.curves import MeanCurve
from hpo.comparison.groups import Comparison
from hpo.formatting import number
from hpo.objectives import Objective
from hpo.pareto import front
from hpo.study.snapshot import objective_row
from hpo.study.state import Trial

mpl.use("agg")

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by the colour-blind
LABELLED = 12  # points of a front, at most


def draw_curves(compared: Comparison, path: Path) -> None:
    """Draw both curves beside each other into a PNG file."""
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, compared, compared.trials, "trials")
    _curves(right, compared, compared.hours, "GPU-hours")
    kind = "incumbent " if compared.measure.reference is None else ""
    left.set_ylabel(f"{kind}{compared.measure.name}: mean ± standard error")
    left.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


def _curves(axes: Axes, compared: Comparison, curves: Mapping[str, MeanCurve], label: str) -> None:
    for place, (name, curve) in enumerate(curves.items()):
        colour, count = f"C{place}", len(compared.groups[name])
        mean = [compared.measure.shown(level) for level in curve.mean]
        error = [0.0 if math.isnan(value) else value for value in curve.error]
        low = [value - spread for value, spread in zip(mean, error, strict=True)]
        high = [value + spread for value, spread in zip(mean, error, strict=True)]
        axes.fill_between(curve.x, low, high, step="post", alpha=0.2, lw=0, color=colour)
        studies = "1 study" if count == 1 else f"{count} studies"
        axes.step(curve.x, mean, where="post", color=colour, label=f"{name} ({studies})")
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def draw_arms(
    pilot: list[Trial], gains: Mapping[str, ArmGain], objectives: Mapping[str, Objective], path: Path
) -> None:
    """Draw the front of the study, and that of the study with each arm; of one objective the incumbents.

    Args:
        pilot: the study's completed trials, at least one.
        objectives: the first two are drawn.
    """
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    named = list(objectives.items())
    if len(named) == 1:
        _incumbents(axes, pilot, gains, *named[0])
    else:
        _fronts(axes, pilot, gains, dict(named[:2]))
    axes.legend()
    figure.savefig(path, dpi=150)


def _incumbents(
    axes: Any, pilot: list[Trial], gains: Mapping[str, ArmGain], name: str, objective: Objective
) -> None:
    begun = [trial.metrics[name].value for trial in pilot]
    best = max if objective.direction == "max" else min
    for colour, (arm, gain) in zip(COLOURS[1:] * len(gains), gains.items(), strict=False):
        values = [*begun, *(trial.metrics[name].value for trial in gain.trials)]
        numbers = range(1, len(values) + 1)
        axes.plot(numbers, values, "o", color=colour, alpha=0.35, markersize=4)
        axes.step(numbers, [best(values[:n]) for n in numbers], where="post", color=colour, label=arm)
    axes.axvline(len(begun) + 0.5, color="grey", linestyle=":")
    axes.set(xlabel="trial", ylabel=f"{name} ({objective.direction})")


def _fronts(
    axes: Any, pilot: list[Trial], gains: Mapping[str, ArmGain], two: Mapping[str, Objective]
) -> None:
    groups: dict[str, tuple[list[Trial], list[Trial]]] = {"study": (pilot, pilot)}
    groups |= {f"study + {arm}": ([*pilot, *gain.trials], gain.trials) for arm, gain in gains.items()}
    for colour, marker, (label, (trials, added)) in zip(COLOURS, "os^D", groups.items(), strict=False):
        x, y = _values(added, two)
        axes.plot(x, y, marker, color=colour, alpha=0.4, markersize=5)
        kept = [trials[position] for position in front([objective_row(trial, two) for trial in trials])]
        kept.sort(key=lambda trial: objective_row(trial, two))
        x, y = _values(kept, two)
        axes.plot(x, y, marker=marker, color=colour, label=label, linewidth=1.2, markersize=6)
        for trial, left, up in list(zip(kept, x, y, strict=True))[:LABELLED]:
            if trial in added:
                text = ", ".join(number(value) for value in trial.params.values())
                place = {"xytext": (5, 5), "textcoords": "offset points"}
                axes.annotate(f"({text})", (left, up), fontsize=7, color=colour, **place)
    (first, second), names = two.values(), list(two)
    params = ", ".join(pilot[0].params)
    axes.set(xlabel=f"{names[0]} ({first.direction})", ylabel=f"{names[1]} ({second.direction})")
    axes.set_title(f"points: ({params})", fontsize=9)


def _values(trials: Sequence[Trial], two: Mapping[str, Objective]) -> list[list[float]]:
    return [[trial.metrics[name].value for trial in trials] for name in two]
