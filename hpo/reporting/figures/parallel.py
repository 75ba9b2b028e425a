"""Parallel coordinates: every completed trial as a line over its parameters and objectives.

Drawn as plain lines, not with the library's own kind of figure, which needs WebGL: where a browser runs on a
cluster's remote desktop there is none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from hpo.formatting import number
from hpo.objectives import Objectives
from hpo.records import ParamValue
from hpo.reporting.figures.parameters import is_log, is_number
from hpo.reporting.figures.style import FRONT, axis_title, finish, marks
from hpo.space.space import SearchSpace
from hpo.study.snapshot import measured_trials
from hpo.study.state import Study, Trial

_CLASSES = 8  # of trials of a similar first objective, each in a colour
_MOST_TICKS = 8
_ABSENT = "–"


@dataclass(frozen=True)
class ParallelAxis:
    """One axis: a height in [0, 1] for each trial, and what is written at which heights."""

    title: str
    heights: list[float]
    ticks: Mapping[float, str]


def parallel_figure(
    study: Study,
    objectives: Objectives,
    space: SearchSpace | None,
    front: set[str],
    shown: Collection[str],
) -> go.Figure:
    """Lines coloured by the first objective, from its best (dark) to its worst; the front's on top, in red.

    Args:
        study: with completed trials.
        objectives: what is optimised.
        space: for logarithmic scales.
        front: ids of the trials on the front.
        shown: ids of the trials that the figure has room for.
    """
    trials = [trial for trial in measured_trials(study, objectives) if trial.id in shown]
    axes = [_of_parameter(trials, name, is_log(space, name)) for name in study.parameters]
    for name in objectives:
        values = [trial.metrics[name].value for trial in trials]
        axes.append(_of_numbers(axis_title(name, objectives), values))
    figure = go.Figure()
    first, objective = next(iter(objectives.items()))
    order = sorted(
        range(len(trials)), key=lambda at: objective.minimised(trials[at].metrics[first].value), reverse=True
    )
    classes = min(_CLASSES, len(trials))
    colours = sample_colorscale("Viridis", [1 - (k + 0.5) / classes for k in range(classes)])
    for k, colour in enumerate(colours):
        some = order[k * len(order) // classes : (k + 1) * len(order) // classes]
        _add(figure, some, trials, axes, {"color": colour, "width": 1.2}, opacity=0.75)
    best = [at for at in order if trials[at].id in front]
    _add(figure, best, trials, axes, {"color": FRONT, "width": 2.5})
    _dress(figure, axes)
    return finish(figure, 420, showlegend=False, margin={"l": 40, "r": 60, "t": 50, "b": 30})


def _of_parameter(trials: Sequence[Trial], name: str, log: bool) -> ParallelAxis:
    present = [trial.params[name] for trial in trials if name in trial.params]
    if is_number(trials, name) and len(present) == len(trials):
        return _of_numbers(escape(name), [float(value) for value in present], log=log)
    ordered: list[ParamValue] = sorted(set(present), key=lambda value: (isinstance(value, str), value))
    words = [_ABSENT, *ordered] if len(present) < len(trials) else ordered
    places = {repr(word): place / max(1, len(words) - 1) for place, word in enumerate(words)}
    every = max(1, -(-len(words) // _MOST_TICKS))
    ticks = {places[repr(word)]: escape(number(word)) for word in words[::every]}
    heights = [places[repr(trial.params.get(name, _ABSENT))] for trial in trials]
    return ParallelAxis(escape(name), heights, ticks)


def _of_numbers(title: str, values: Sequence[float], *, log: bool = False) -> ParallelAxis:
    scaled = [math.log(value) for value in values] if log and min(values) > 0 else list(values)
    low, high = min(scaled), max(scaled)
    if low == high:
        return ParallelAxis(title, [0.5] * len(scaled), {0.5: f"{values[0]:.3g}"})
    heights = [(value - low) / (high - low) for value in scaled]
    return ParallelAxis(title, heights, {0.0: f"{min(values):.3g}", 1.0: f"{max(values):.3g}"})


def _add(
    figure: go.Figure,
    places: Sequence[int],
    trials: Sequence[Trial],
    axes: Sequence[ParallelAxis],
    line: Mapping[str, Any],
    opacity: float = 1.0,
) -> None:
    """The lines of some trials as one trace, with gaps between them."""
    x: list[int | None] = []
    y: list[float | None] = []
    owners: list[Trial] = []
    for at in places:
        x += [*range(len(axes)), None]
        y += [*(axis.heights[at] for axis in axes), None]
        owners += [trials[at]] * (len(axes) + 1)
    figure.add_scatter(
        x=x, y=y, mode="lines+markers", marker={"size": 4}, line=line, opacity=opacity, **marks(owners)
    )


def _dress(figure: go.Figure, axes: Sequence[ParallelAxis]) -> None:
    """The axes' lines, titles and values."""
    for place, axis in enumerate(axes):
        figure.add_shape(
            type="line", x0=place, x1=place, y0=0, y1=1, line={"color": "#b8c0c8", "width": 1}, layer="below"
        )
        for height, text in axis.ticks.items():
            figure.add_annotation(
                x=place,
                y=height,
                text=text,
                showarrow=False,
                xanchor="left",
                xshift=6,
                bgcolor="rgba(255,255,255,0.75)",
                font={"size": 10},
            )
    titles = [axis.title for axis in axes]
    figure.update_xaxes(
        tickvals=list(range(len(axes))),
        ticktext=titles,
        side="top",
        showgrid=False,
        range=[-0.2, len(axes) - 0.6],
    )
    figure.update_yaxes(visible=False, range=[-0.06, 1.06])
