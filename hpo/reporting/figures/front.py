"""Figures of results: fronts of two objectives each, hypervolume, incumbents."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpo.objectives import Direction, Objectives
from hpo.reporting.convergence import Convergence
from hpo.reporting.figures.labels import params_label, place_labels
from hpo.reporting.figures.style import FRONT, axis_title, by_group, failed, finish, group_of, look, marks
from hpo.study.snapshot import measured_trials, pareto_trials
from hpo.study.state import Study, Trial

AREA = (900.0, 370.0)  # of the plot in pixels, for the labels
FONT = 11
_MOST_LABELS = 40
_MARGIN = 0.07


def front_figure(study: Study, objectives: Objectives, pair: tuple[str, str]) -> go.Figure:
    """Two objectives of every completed trial, the front labelled, trials without values above."""
    lost = failed(study)
    heights = [0.08, 0.92] if lost else [0.001, 0.999]
    figure = make_subplots(rows=2, cols=1, row_heights=heights, vertical_spacing=0.03 if lost else 0)
    completed = measured_trials(study, objectives)
    whole = {trial.id for trial in pareto_trials(study, dict(objectives))}
    for group, trials in by_group(completed).items():
        figure.add_trace(_points(trials, pair, group, whole), row=2, col=1)
    front = pareto_trials(study, {name: objectives[name] for name in pair})
    figure.add_trace(_line(front, objectives, pair), row=2, col=1)
    for name, add in zip(pair, (figure.add_vline, figure.add_hline), strict=True):
        if name in study.baseline:
            where = "top left" if name == pair[0] else "bottom right"
            add(
                study.baseline[name],
                line={"dash": "dot", "width": 1, "color": "#555"},
                row=2,
                col=1,
                annotation={"text": "untuned model", "font": {"size": 10}},
                annotation_position=where,
            )
    _failed_row(figure, lost)
    ranges = [
        _range([trial.metrics[name].value for trial in completed], study.baseline.get(name)) for name in pair
    ]
    names = study.parameters
    for note in _labels(front, completed, pair, ranges, names):
        figure.add_annotation(note, row=2, col=1)
    figure.update_xaxes(title=axis_title(pair[0], objectives), range=ranges[0], row=2, col=1)
    figure.update_yaxes(title=axis_title(pair[1], objectives), range=ranges[1], row=2, col=1)
    finish(figure, 520)
    figure.update_annotations(font_size=FONT)
    return figure


def _points(trials: Sequence[Trial], pair: tuple[str, str], group: str, front: set[str]) -> go.Scatter:
    colour, symbol, _ = look(group)
    on_front = [trial.id in front for trial in trials]
    errors = [[trial.metrics[name].standard_error or 0.0 for trial in trials] for name in pair]
    bars = [
        {"array": own, "thickness": 1, "width": 0, "color": colour} if any(own) else None for own in errors
    ]
    return go.Scatter(
        x=[trial.metrics[pair[0]].value for trial in trials],
        y=[trial.metrics[pair[1]].value for trial in trials],
        error_x=bars[0],
        error_y=bars[1],
        mode="markers",
        name=group,
        marker={
            "symbol": symbol,
            "color": colour,
            "size": [11 if own else 8 for own in on_front],
            "opacity": [1.0 if own else 0.5 for own in on_front],
            "line": {"color": FRONT, "width": [2 if own else 0 for own in on_front]},
        },
        **marks(trials),
    )


def _line(front: Sequence[Trial], objectives: Objectives, pair: tuple[str, str]) -> go.Scatter:
    """The edge of what is dominated, as steps."""
    rows = sorted((trial.metrics[pair[0]].value, trial.metrics[pair[1]].value) for trial in front)
    shape = "hv" if objectives[pair[0]].direction is Direction.MIN else "vh"
    line = {"shape": shape, "color": FRONT, "width": 1.5}
    x, y = [row[0] for row in rows], [row[1] for row in rows]
    return go.Scatter(x=x, y=y, mode="lines", line=line, name="front of these two", hoverinfo="skip")


def _failed_row(figure: go.Figure, lost: Sequence[Trial]) -> None:
    marker = {"symbol": "x", "color": "#333", "size": 8}
    figure.add_trace(
        go.Scatter(
            x=[trial.number for trial in lost],
            y=[0] * len(lost),
            mode="markers",
            marker=marker,
            name="failed: no value",
            showlegend=bool(lost),
            **marks(lost),
        ),
        row=1,
        col=1,
    )
    figure.update_xaxes(visible=False, row=1, col=1)
    figure.update_yaxes(visible=False, range=[-1, 1], fixedrange=True, row=1, col=1)


def _range(values: Sequence[float], baseline: float | None) -> list[float] | None:
    known = [*values, *([] if baseline is None else [baseline])]
    if not known:
        return None
    span = (max(known) - min(known)) or abs(known[0]) or 1.0
    return [min(known) - _MARGIN * span, max(known) + _MARGIN * span]


def _labels(
    front: Sequence[Trial],
    completed: Sequence[Trial],
    pair: tuple[str, str],
    ranges: Sequence[list[float] | None],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """The front's parameters as annotations that do not overlap; where there is no room, hovering tells."""
    if ranges[0] is None or ranges[1] is None:
        return []
    ends = [ranges[0], ranges[1]]

    def pixels(trial: Trial) -> tuple[float, float]:
        x, y = (
            (trial.metrics[name].value - end[0]) / (end[1] - end[0]) * size
            for name, end, size in zip(pair, ends, AREA, strict=True)
        )
        return x, y

    shown = list(front)[:_MOST_LABELS]
    texts = [params_label(trial, names) for trial in shown]
    mine = {trial.id for trial in shown}
    others = [pixels(trial) for trial in completed if trial.id not in mine]
    offsets = place_labels([pixels(trial) for trial in shown], others, texts, AREA, FONT)
    return [
        {
            "x": trial.metrics[pair[0]].value,
            "y": trial.metrics[pair[1]].value,
            "ax": offset[0],
            "ay": -offset[1],
            "text": escape(text),
            "arrowhead": 0,
            "arrowwidth": 0.7,
            "arrowcolor": "#888",
            "standoff": 5,
        }
        for trial, text, offset in zip(shown, texts, offsets, strict=True)
        if offset is not None
    ]


def hypervolume_figure(study: Study, convergence: Convergence) -> go.Figure:
    """Hypervolume against trials and against GPU-hours."""
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    line = {"shape": "hv", "color": look("model-proposed")[0]}
    places = [count - 1 for count in convergence.counted]
    common = {"mode": "lines+markers", "line": line, "marker": {"size": 4}, "showlegend": False}
    numbers = marks([study.trials[name] for name in _ids(study, [convergence.trials[own] for own in places])])
    figure.add_trace(
        go.Scatter(x=convergence.counted, y=convergence.volumes, **common, **numbers), row=1, col=1
    )
    hours = [convergence.gpu_hours[place] for place in places]
    figure.add_trace(go.Scatter(x=hours, y=convergence.volumes, **common, **numbers), row=1, col=2)
    figure.update_xaxes(title="completed trials", row=1, col=1)
    figure.update_xaxes(title="GPU-hours, lost ones included", row=1, col=2)
    figure.update_yaxes(title="hypervolume", rangemode="tozero", col=1)
    return finish(figure, 320)


def outlook_figure(study: Study) -> go.Figure:
    """What was left to gain when each batch was proposed, beside the noise of the hypervolume."""
    figure = go.Figure()
    results = [own.results for own in study.outlooks]
    for name, values, color in (
        ("expected of the best new trial", [own.gain for own in study.outlooks], look("model-proposed")[0]),
        ("noise of the hypervolume", [own.noise for own in study.outlooks], FRONT),
    ):
        shares = [100 * value for value in values]
        marker = {"size": 4, "color": color}
        line = {"color": color}
        figure.add_trace(
            go.Scatter(x=results, y=shares, name=name, mode="lines+markers", line=line, marker=marker)
        )
    figure.update_xaxes(title="results known")
    figure.update_yaxes(title="% of the hypervolume", type="log")
    return finish(figure, 280)


def incumbent_figure(study: Study, objectives: Objectives, convergence: Convergence) -> go.Figure:
    """Per objective every result over the time, and the best so far."""
    figure = make_subplots(rows=1, cols=len(objectives), horizontal_spacing=0.08)
    trials = [study.trials[name] for name in _ids(study, convergence.trials)]
    for place, (name, objective) in enumerate(objectives.items()):
        sign = objective.direction.sign
        values = [sign * row[place] for row in convergence.rows]
        best = [sign * value for value in convergence.incumbents(place)]
        marker = {"size": 6, "opacity": 0.5, "color": [look(group_of(trial))[0] for trial in trials]}
        figure.add_trace(
            go.Scatter(x=convergence.hours, y=values, mode="markers", marker=marker, **marks(trials)),
            row=1,
            col=place + 1,
        )
        figure.add_trace(
            go.Scatter(
                x=convergence.hours, y=best, mode="lines", hoverinfo="y", line={"shape": "hv", "color": FRONT}
            ),
            row=1,
            col=place + 1,
        )
        figure.update_xaxes(title="hours since the study began", row=1, col=place + 1)
        figure.update_yaxes(title=axis_title(name, objectives), row=1, col=place + 1)
    return finish(figure, 320, showlegend=False)


def _ids(study: Study, numbers: Sequence[int]) -> list[str]:
    known = {trial.number: name for name, trial in study.trials.items()}
    return [known[number] for number in numbers]
