"""Figures of what was tried: each objective by each parameter, parameters over the trial number."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpo.objectives import Objectives
from hpo.reporting.figures.style import FRONT, axis_title, by_group, failed, finish, look, marks
from hpo.space.space import SearchSpace
from hpo.study.learning_curves import thinned
from hpo.study.snapshot import measured_trials
from hpo.study.state import Study, Trial

COLUMNS = 3
MOST_TRIALS = 1000  # more would make the page large, and points lie on each other
_PANEL = 250
_ABSENT = "–"


def some_of(study: Study, front: Collection[str], most: int = MOST_TRIALS) -> set[str]:
    """Ids of trials for figures of every parameter: at most so many (at least 2), the front among them."""
    others = [name for name in study.trials if name not in front]
    return {*front, *thinned(others, max(2, most - len(front)))}


def is_log(space: SearchSpace | None, name: str) -> bool:
    """Whether a parameter has a logarithmic scale."""
    return bool(space and getattr(space.parameters.get(name), "log", False))


def is_number(trials: Sequence[Trial], name: str) -> bool:
    """Whether all values of a parameter are numbers."""
    values = [trial.params[name] for trial in trials if name in trial.params]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def values_of(trials: Sequence[Trial], name: str, *, numeric: bool) -> list[Any]:
    """A parameter's values for an axis; None, or a dash among words, where a trial does not have it."""
    if numeric:
        return [trial.params.get(name) for trial in trials]
    return [escape(str(trial.params[name])) if name in trial.params else _ABSENT for trial in trials]


def objective_figure(
    study: Study,
    objectives: Objectives,
    space: SearchSpace | None,
    objective: str,
    front: set[str],
    shown: Collection[str],
) -> go.Figure:
    """One objective by each parameter, a panel each; failed trials along the upper edge.

    Args:
        study: with completed trials.
        objectives: what is optimised.
        space: for logarithmic scales.
        objective: one of them.
        front: ids of the trials on the front.
        shown: ids of the trials that the figure has room for.
    """
    names = study.parameters
    figure, rows = _panels(names)
    completed = [trial for trial in measured_trials(study, objectives) if trial.id in shown]
    lost = [trial for trial in failed(study) if trial.id in shown]
    values = [trial.metrics[objective].value for trial in completed]
    edge = max(values) + 0.1 * ((max(values) - min(values)) or abs(max(values)) or 1.0)
    everyone = list(study.trials.values())
    for place, name in enumerate(names):
        where = {"row": place // COLUMNS + 1, "col": place % COLUMNS + 1}
        numeric = is_number(everyone, name)
        for group, trials in by_group(completed).items():
            figure.add_trace(_cloud(trials, name, objective, group, front, numeric, place == 0), **where)
        if lost:
            x = values_of(lost, name, numeric=numeric)
            cross = {"symbol": "x", "size": 7, "color": "#333"}
            figure.add_trace(
                go.Scatter(
                    x=x,
                    y=[edge] * len(lost),
                    mode="markers",
                    marker=cross,
                    name="failed: no value",
                    legendgroup="failed",
                    showlegend=place == 0,
                    **marks(lost),
                ),
                **where,
            )
        figure.update_xaxes(title=escape(name), **_scale(space, name, numeric), **where)
    figure.update_yaxes(title=axis_title(objective, objectives), col=1)
    return finish(figure, 60 + _PANEL * rows)


def _cloud(
    trials: Sequence[Trial],
    name: str,
    objective: str,
    group: str,
    front: set[str],
    numeric: bool,
    legend: bool,
) -> go.Scatter:
    colour, symbol, _ = look(group)
    marker = {
        "color": colour,
        "symbol": symbol,
        "size": 7,
        "opacity": 0.75,
        "line": {"color": FRONT, "width": [2 if trial.id in front else 0 for trial in trials]},
    }
    return go.Scatter(
        x=values_of(trials, name, numeric=numeric),
        y=[trial.metrics[objective].value for trial in trials],
        mode="markers",
        marker=marker,
        name=group,
        legendgroup=group,
        showlegend=legend,
        **marks(trials),
    )


def _panels(names: Sequence[str]) -> tuple[go.Figure, int]:
    rows = max(1, math.ceil(len(names) / COLUMNS))
    spacing = 80 / (_PANEL * rows)
    figure = make_subplots(
        rows=rows, cols=min(COLUMNS, max(1, len(names))), vertical_spacing=spacing, horizontal_spacing=0.07
    )
    return figure, rows


def _scale(space: SearchSpace | None, name: str, numeric: bool) -> dict[str, Any]:
    """An axis for a parameter; words in the order in which the space lists them."""
    if numeric:
        return {"type": "log" if is_log(space, name) else "linear"}
    words = getattr(space.parameters.get(name), "values", ()) if space else ()
    ordered = [escape(str(word)) for word in words]
    return {"type": "category", "categoryorder": "array", "categoryarray": ordered}


def history_figure(study: Study, space: SearchSpace | None, shown: Collection[str]) -> go.Figure:
    """Every parameter over the number of the trials that are to be shown."""
    names = study.parameters
    figure, rows = _panels(names)
    everyone = [trial for trial in study.trials.values() if trial.id in shown]
    lost = {trial.id for trial in failed(study)}
    for place, name in enumerate(names):
        where = {"row": place // COLUMNS + 1, "col": place % COLUMNS + 1}
        numeric = is_number(everyone, name)
        for group, trials in by_group(everyone).items():
            colour, symbol, _ = look(group)
            marker = {
                "color": colour,
                "symbol": ["x" if trial.id in lost else symbol for trial in trials],
                "size": 6,
                "opacity": 0.75,
            }
            figure.add_trace(
                go.Scatter(
                    x=[trial.number for trial in trials],
                    y=values_of(trials, name, numeric=numeric),
                    mode="markers",
                    marker=marker,
                    name=group,
                    legendgroup=group,
                    showlegend=place == 0,
                    **marks(trials),
                ),
                **where,
            )
        figure.update_yaxes(title=escape(name), **_scale(space, name, numeric), **where)
        figure.update_xaxes(title="trial", **where)
    return finish(figure, 60 + _PANEL * rows)
