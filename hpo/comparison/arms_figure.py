"""The fronts of a study and its arms in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.formatting import number
from hpo.objectives import Objective
from hpo.pareto import front
from hpo.study.snapshot import objective_row
from hpo.study.state import Trial

if TYPE_CHECKING:
    from hpo.comparison.continuations import ArmGain

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by the colour-blind
LABELLED = 12  # points of a front, at most


def draw(
    pilot: list[Trial], gains: Mapping[str, ArmGain], objectives: Mapping[str, Objective], path: Path
) -> None:
    """Draw the front of the study, and that of the study with each arm; of one objective the incumbents.

    Args:
        pilot: the study's completed trials, at least one.
        gains: of each arm.
        objectives: the first two are drawn.
        path: of the PNG file.
    """
    from matplotlib.figure import Figure

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
    axes: Any, pilot: list[Trial], gains: Mapping[str, ArmGain], name: str, own: Objective
) -> None:
    begun = [trial.metrics[name].value for trial in pilot]
    best = max if own.direction == "max" else min
    for colour, (arm, gain) in zip(COLOURS[1:] * len(gains), gains.items(), strict=False):
        values = [*begun, *(trial.metrics[name].value for trial in gain.trials)]
        numbers = range(1, len(values) + 1)
        axes.plot(numbers, values, "o", color=colour, alpha=0.35, markersize=4)
        axes.step(numbers, [best(values[:n]) for n in numbers], where="post", color=colour, label=arm)
    axes.axvline(len(begun) + 0.5, color="grey", linestyle=":")
    axes.set(xlabel="trial", ylabel=f"{name} ({own.direction})")


def _fronts(
    axes: Any, pilot: list[Trial], gains: Mapping[str, ArmGain], two: Mapping[str, Objective]
) -> None:
    groups: dict[str, tuple[list[Trial], list[Trial]]] = {"study": (pilot, pilot)}
    groups |= {f"study + {arm}": ([*pilot, *gain.trials], gain.trials) for arm, gain in gains.items()}
    for colour, marker, (label, (trials, own)) in zip(COLOURS, "os^D", groups.items(), strict=False):
        x, y = _values(own, two)
        axes.plot(x, y, marker, color=colour, alpha=0.4, markersize=5)
        kept = [trials[position] for position in front([objective_row(trial, two) for trial in trials])]
        kept.sort(key=lambda trial: objective_row(trial, two))
        x, y = _values(kept, two)
        axes.plot(x, y, marker=marker, color=colour, label=label, linewidth=1.2, markersize=6)
        for trial, left, up in list(zip(kept, x, y, strict=True))[:LABELLED]:
            if trial in own:
                text = ", ".join(number(value) for value in trial.params.values())
                place = {"xytext": (5, 5), "textcoords": "offset points"}
                axes.annotate(f"({text})", (left, up), fontsize=7, color=colour, **place)
    (first, second), names = two.values(), list(two)
    params = ", ".join(pilot[0].params)
    axes.set(xlabel=f"{names[0]} ({first.direction})", ylabel=f"{names[1]} ({second.direction})")
    axes.set_title(f"points: ({params})", fontsize=9)


def _values(trials: Sequence[Trial], two: Mapping[str, Objective]) -> list[list[float]]:
    return [[trial.metrics[name].value for trial in trials] for name in two]
