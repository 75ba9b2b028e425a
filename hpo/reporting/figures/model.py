"""Figures of the surrogate: what matters, slices through it, and whether it may be believed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpo.objectives import Objectives
from hpo.reporting.figures.parameters import is_log
from hpo.reporting.figures.style import FRONT, axis_title, finish, look, marks
from hpo.space.space import SearchSpace
from hpo.study.state import Study, TrialState

if TYPE_CHECKING:
    from hpo.models.diagnostics import Bin, Diagnostics
    from hpo.reporting.forest import Forest
    from hpo.reporting.sensitivity import Indices, Slice

BLUE = look("model-proposed")[0]
_LIGHT = "#9cc3e4"
_Z = 1.959964


def importance_figure(indices: Mapping[str, Indices], forest: Mapping[str, Forest]) -> go.Figure:
    """Per objective: Sobol indices of the surrogate, the forest's opinion beside them."""
    titles = [escape(name) + (" (its logarithm)" if own.log else "") for name, own in indices.items()]
    figure = make_subplots(
        rows=1, cols=len(indices), subplot_titles=titles, horizontal_spacing=0.12 / max(1, len(indices) - 1)
    )
    most = 1
    for place, (name, own) in enumerate(indices.items(), start=1):
        names = [escape(parameter) for parameter in own.names]
        most = max(most, len(names))
        for label, value, ends, colour in (
            ("total", own.total, own.total_range, BLUE),
            ("by itself", own.first, own.first_range, _LIGHT),
        ):
            bars = {
                "array": (ends[:, 1] - value).clip(0).tolist(),
                "arrayminus": (value - ends[:, 0]).clip(0).tolist(),
                "thickness": 1.2,
            }
            figure.add_trace(
                go.Bar(
                    y=names,
                    x=value.tolist(),
                    error_x=bars,
                    orientation="h",
                    marker={"color": colour},
                    name=f"Sobol index, {label}",
                    legendgroup=label,
                    showlegend=place == 1,
                ),
                row=1,
                col=place,
            )
        if name in forest:
            second = forest[name]
            figure.add_trace(
                go.Scatter(
                    y=[escape(parameter) for parameter in second.names],
                    x=second.importance.tolist(),
                    error_x={"array": second.deviation.tolist(), "thickness": 1, "color": "#d08a1d"},
                    mode="markers",
                    marker={"color": "#d08a1d", "symbol": "diamond", "size": 9},
                    name="random forest (compare with the total)",
                    legendgroup="forest",
                    showlegend=place == 1,
                ),
                row=1,
                col=place,
            )
    figure.update_xaxes(title="share of the variance", rangemode="tozero")
    figure.update_yaxes(autorange="reversed")
    return finish(
        figure,
        130 + 52 * most,
        barmode="group",
        margin={"l": 120, "r": 24, "t": 60, "b": 50},
        legend={"orientation": "h", "y": 1.15, "yanchor": "bottom", "x": 0},
    )


def slices_figure(
    slices: Mapping[str, Mapping[str, Slice]],
    objectives: Objectives,
    space: SearchSpace,
    anchor: Mapping[str, object],
) -> go.Figure:
    """A row per objective, a column per parameter: the posterior with all else held."""
    names = list(next(iter(slices.values())))
    figure = make_subplots(
        rows=len(slices),
        cols=len(names),
        horizontal_spacing=0.25 / (3 + len(names)),
        vertical_spacing=0.08,
        shared_xaxes=True,
        shared_yaxes=True,
    )
    for row, (objective, own) in enumerate(slices.items(), start=1):
        for column, (name, line) in enumerate(own.items(), start=1):
            for trace in _slice_traces(line):
                figure.add_trace(trace, row=row, col=column)
            if name in anchor:
                value = anchor[name]
                shown = escape(str(value)) if isinstance(line.values[0], str) else value
                if not isinstance(line.values[0], str):
                    figure.add_vline(
                        shown, line={"dash": "dot", "width": 1, "color": FRONT}, row=row, col=column
                    )
            kind = (
                "category" if isinstance(line.values[0], str) else "log" if is_log(space, name) else "linear"
            )
            title = escape(name) if row == len(slices) else None
            figure.update_xaxes(type=kind, title=title, row=row, col=column)
        figure.update_yaxes(title=axis_title(objective, objectives), row=row, col=1)
    return finish(figure, 80 + 210 * len(slices), showlegend=False)


def _slice_traces(line: Slice) -> list[go.Scatter]:
    if isinstance(line.values[0], str):
        middle = line.middle
        bars = {
            "array": [up - own for up, own in zip(line.upper, middle, strict=True)],
            "arrayminus": [own - low for low, own in zip(line.lower, middle, strict=True)],
            "color": _LIGHT,
            "thickness": 3,
        }
        values = [escape(str(value)) for value in line.values]
        return [
            go.Scatter(x=values, y=middle, error_y=bars, mode="markers", marker={"color": BLUE, "size": 8})
        ]
    common: dict[str, Any] = {"x": line.values, "mode": "lines"}
    edge = {"width": 0}
    return [
        go.Scatter(y=line.lower, line=edge, hoverinfo="skip", **common),
        go.Scatter(
            y=line.upper,
            line=edge,
            fill="tonexty",
            fillcolor="rgba(31,111,180,0.18)",
            hoverinfo="skip",
            **common,
        ),
        go.Scatter(y=line.middle, line={"color": BLUE, "width": 2}, **common),
    ]


def trust_figure(
    trust: Mapping[str, Diagnostics], objectives: Objectives, study: Study, space: SearchSpace
) -> go.Figure:
    """Per objective: what the model says of each configuration without having seen it, and what came out."""
    titles = [f"{escape(name)}: {own.coverage:.0%} within their 95% intervals" for name, own in trust.items()]
    figure = make_subplots(rows=1, cols=len(trust), subplot_titles=titles, horizontal_spacing=0.09)
    numbers = {
        space.to_unit(trial.params): trial
        for trial in study.in_state(TrialState.COMPLETED)
        if space.contains(trial.params)
    }
    for place, (name, own) in enumerate(trust.items(), start=1):
        known = [numbers.get(tuple(point)) for point in own.points.tolist()]
        inside = (own.observed >= own.lower) & (own.observed <= own.upper)
        bars = {
            "array": (own.upper - own.predicted).tolist(),
            "arrayminus": (own.predicted - own.lower).tolist(),
            "thickness": 1,
            "width": 0,
            "color": "rgba(31,111,180,0.35)",
        }
        points = marks([trial for trial in known if trial]) if all(known) else {}
        figure.add_trace(
            go.Scatter(
                x=own.observed.tolist(),
                y=own.predicted.tolist(),
                error_y=bars,
                mode="markers",
                marker={"size": 7, "color": [BLUE if good else FRONT for good in inside.tolist()]},
                **points,
            ),
            row=1,
            col=place,
        )
        ends = [float(own.observed.min()), float(own.observed.max())]
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=ends,
                mode="lines",
                line={"dash": "dot", "color": "#555", "width": 1},
                hoverinfo="skip",
            ),
            row=1,
            col=place,
        )
        figure.update_xaxes(title=f"{axis_title(name, objectives)}, observed", row=1, col=place)
        figure.update_yaxes(title="predicted without it", row=1, col=place)
    return finish(figure, 400, showlegend=False, margin={"l": 64, "r": 24, "t": 50, "b": 56})


def wilson(share: float, count: int) -> tuple[float, float]:
    """The central 95% interval of a probability of which `share` of `count` tries came true, after Wilson."""
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return middle - half, middle + half


def calibration_figure(bins: Sequence[Bin]) -> go.Figure:
    """Predicted probabilities of working beside the shares that worked, by fifths."""
    ends = [wilson(own.worked, own.count) for own in bins]
    bars = {
        "array": [max(0.0, high - own.worked) for own, (_, high) in zip(bins, ends, strict=True)],
        "arrayminus": [max(0.0, own.worked - low) for own, (low, _) in zip(bins, ends, strict=True)],
        "thickness": 1,
    }
    figure = go.Figure(
        go.Scatter(
            x=[own.predicted for own in bins],
            y=[own.worked for own in bins],
            error_y=bars,
            mode="markers+text",
            text=[f"{own.count} trials" for own in bins],
            textposition="bottom right",
            marker={"size": 9, "color": BLUE},
        )
    )
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#555"}, hoverinfo="skip"
    )
    figure.update_xaxes(title="predicted probability of working", range=[-0.03, 1.03])
    figure.update_yaxes(title="share that worked", range=[-0.06, 1.06])
    return finish(figure, 340, showlegend=False)
