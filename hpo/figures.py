"""The pictures of a report, drawn with matplotlib into PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpo.objectives import Direction, Objective
from hpo.pareto import hypervolume, reference_point
from hpo.snapshot import objective_row, pareto_trials
from hpo.study import Study, Trial, TrialState

mpl.use("agg")

COLOURS = {"model": "#1f6fb4", "sobol": "#8a8a8a"}
OTHER = "#c77d1e"


def draw(study: Study, objectives: Mapping[str, Objective], folder: Path) -> list[Path]:
    """Draw every picture that the study has the trials for.

    Args:
        study: as the journal tells it.
        objectives: what is optimised.
        folder: an existing folder for the files.

    Returns:
        The files, in the order in which they are to be shown.
    """
    completed = study.in_state(TrialState.COMPLETED)
    if not completed:
        return []
    drawn = []
    for first, second in combinations(objectives, 2):
        path = folder / f"front_{first}_{second}.png"
        _save(_front(study, objectives, (first, second)), path)
        drawn.append(path)
    path = folder / "hypervolume.png"
    _save(_hypervolume(completed, objectives), path)
    return [*drawn, path]


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _axes(x: str, y: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.margins(0.08)
    return figure, axes


def _front(study: Study, objectives: Mapping[str, Objective], pair: tuple[str, str]) -> Figure:
    labels = [f"{name} ({objectives[name].direction})" for name in pair]
    figure, axes = _axes(labels[0], labels[1], f"{study.name}: Pareto front")
    for origin, trials in _by_origin(study.in_state(TrialState.COMPLETED)):
        x, y = _columns(trials, pair)
        errors = [[trial.metrics[name].standard_error or 0.0 for trial in trials] for name in pair]
        colour = COLOURS.get(origin, OTHER)
        axes.errorbar(
            x, y, yerr=errors[1], xerr=errors[0], fmt="o", elinewidth=0.8, color=colour, label=origin
        )
    on_front = pareto_trials(study, {name: objectives[name] for name in pair})
    x, y = _columns(on_front, pair)
    where: Literal["post", "pre"] = "post" if objectives[pair[1]].direction is Direction.MIN else "pre"
    axes.step(x, y, where=where, color="#b02a2a", lw=1.2, label="front", zorder=2)
    names = list(dict.fromkeys(name for trial in on_front for name in trial.params))
    for number, (trial, left, up) in enumerate(zip(on_front, x, y, strict=True)):
        offset = (7, 7) if number % 2 == 0 else (7, -13)  # neighbours' labels on either side
        axes.annotate(_label(trial, names), (left, up), textcoords="offset points", xytext=offset, fontsize=7)
    for name, line in zip(pair, (axes.axvline, axes.axhline), strict=True):
        if name in study.baseline:
            line(study.baseline[name], ls=":", color="#444444", lw=1, label="untuned model")
    params = ", ".join(names)
    axes.legend(fontsize=8, frameon=False, title=f"labels: ({params})", title_fontsize=7)
    return figure


def _by_origin(trials: Sequence[Trial]) -> Iterator[tuple[str, list[Trial]]]:
    for origin in sorted({trial.origin for trial in trials}):
        yield origin, [trial for trial in trials if trial.origin == origin]


def _columns(trials: Sequence[Trial], pair: tuple[str, str]) -> tuple[list[float], list[float]]:
    return (
        [trial.metrics[pair[0]].value for trial in trials],
        [trial.metrics[pair[1]].value for trial in trials],
    )


def _label(trial: Trial, names: Sequence[str]) -> str:
    given = (trial.params.get(name, "–") for name in names)
    values = (f"{value:.2g}" if isinstance(value, float) else str(value) for value in given)
    return f"({', '.join(values)})"


def _hypervolume(completed: Sequence[Trial], objectives: Mapping[str, Objective]) -> Figure:
    ended = sorted(completed, key=lambda trial: trial.ended_at)
    rows = [objective_row(trial, objectives) for trial in ended]
    reference = reference_point(rows, objectives)
    counts = list(range(1, len(rows) + 1))
    volumes = [hypervolume(rows[:count], reference) for count in counts]
    figure, axes = _axes("completed trials", "hypervolume", "Hypervolume, one reference point")
    axes.step(counts, volumes, where="post", color=COLOURS["model"])
    axes.set_xlim(1, max(len(rows), 2))
    return figure
