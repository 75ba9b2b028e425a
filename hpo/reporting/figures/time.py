"""Figures over time: learning curves, attempts by node, cards at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpo.formatting import duration
from hpo.reporting.figures.style import FRONT, GREY, finish
from hpo.reporting.spans import Span, at_work
from hpo.study.learning_curves import LearningCurve

OUTCOMES: Mapping[str, str] = {
    "completed": "#2b8a74",
    "stopped": "#7fb8a8",
    "running": "#1f6fb4",
    "preempted": "#d08a1d",
    "timed_out": "#b7791f",
    "node_failure": "#6d4fa3",
    "lost": "#8a5ab5",
    "host_out_of_memory": "#a0467a",
    "gpu_out_of_memory": "#c0262d",
    "diverged": "#e0564a",
    "error": "#7d1a1a",
    "cancelled": "#9aa3ad",
}
_MOST_LANES = 60


def curves_figure(curves: Sequence[LearningCurve], front: set[int]) -> go.Figure:
    """Training and validation loss over the steps; the front's trials in colour, above the others."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=["training loss", "validation loss"], horizontal_spacing=0.08
    )
    for column, kind in enumerate(("training", "validation"), start=1):
        for on_front in (False, True):
            own = [curve for curve in curves if (curve.number in front) is on_front]
            figure.add_trace(
                _curve_trace(own, kind, on_front=on_front, legend=column == 1), row=1, col=column
            )
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="nats per token", col=1)
    return finish(
        figure,
        400,
        margin={"l": 64, "r": 24, "t": 70, "b": 56},
        legend={"orientation": "h", "y": 1.09, "yanchor": "bottom", "x": 0},
    )


def _curve_trace(curves: Sequence[LearningCurve], kind: str, *, on_front: bool, legend: bool) -> go.Scatter:
    """Many curves as one trace, with gaps between them."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for curve in curves:
        rows = getattr(curve, kind)
        x += [*(step for step, _ in rows), None]
        y += [*(loss for _, loss in rows), None]
        numbers += [curve.number] * len(rows) + [None]
    points = sum(value is not None for value in x)
    sparse = points and points < 3 * len(curves)  # a validation loss at the end alone
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers" if sparse else "lines",
        line={"color": FRONT if on_front else GREY, "width": 2 if on_front else 1},
        opacity=1.0 if on_front else 0.55,
        name="on the front" if on_front else "other trials",
        legendgroup=str(on_front),
        showlegend=legend,
        customdata=numbers,
        meta="trials",
    )


def timeline_figure(spans: Sequence[Span]) -> go.Figure:
    """Attempts as bars on the places of their nodes, what was lost of them pale; below, the cards at work."""
    lanes = sorted({(span.node, span.lane) for span in spans})
    names = {lane: _lane_name(*lane) for lane in lanes[:_MOST_LANES]}
    height = 40 + 22 * len(names)
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[height, 110], vertical_spacing=min(0.1, 30 / height)
    )
    for outcome, colour in OUTCOMES.items():
        own = {
            at: span
            for at, span in enumerate(spans)
            if span.outcome == outcome and (span.node, span.lane) in names
        }
        if own:
            figure.add_trace(_bars(own, names, outcome, colour, useful=True), row=1, col=1)
            figure.add_trace(_bars(own, names, outcome, colour, useful=False), row=1, col=1)
    steps = at_work(spans)
    line = {"shape": "hv", "color": "#1f6fb4", "width": 1.5}
    figure.add_trace(
        go.Scatter(
            x=[_time(at) for at, _ in steps],
            y=[level for _, level in steps],
            line=line,
            fill="tozeroy",
            fillcolor="rgba(31,111,180,0.15)",
            mode="lines",
            showlegend=False,
        ),
        row=2,
        col=1,
    )
    figure.update_yaxes(autorange="reversed", row=1, col=1)
    figure.update_yaxes(title="at work", rangemode="tozero", row=2, col=1)
    figure.update_xaxes(type="date", row=1, col=1)
    figure.update_xaxes(title="time (UTC)", title_standoff=30, type="date", row=2, col=1)
    return finish(
        figure, height + 250, barmode="overlay", bargap=0.25, margin={"l": 120, "r": 24, "t": 60, "b": 70}
    )


def _lane_name(node: str, lane: int) -> str:
    return f"{escape(node) or 'unknown node'} · {lane + 1}"


def _bars(
    spans: Mapping[int, Span],
    names: Mapping[tuple[str, int], str],
    outcome: str,
    colour: str,
    *,
    useful: bool,
) -> go.Bar:
    """The useful part of attempts, or the lost one behind it."""
    parts = [(at, span, span.seconds - span.lost if useful else span.lost) for at, span in spans.items()]
    shown = [(at, span, seconds) for at, span, seconds in parts if seconds > 0]
    starts = [span.start if useful else span.end - seconds for _, span, seconds in shown]
    settings: dict[str, Any] = {"color": colour, "opacity": 1.0 if useful else 0.35}
    if not useful:
        settings["pattern"] = {"shape": "/", "size": 5}
    return go.Bar(
        y=[names[span.node, span.lane] for _, span, _ in shown],
        x=[1000 * seconds for *_, seconds in shown],
        base=[_time(start) for start in starts],
        orientation="h",
        marker=settings,
        name=outcome.replace("_", " "),
        legendgroup=outcome,
        showlegend=useful or not any(span.seconds > span.lost for span in spans.values()),
        customdata=[at for at, *_ in shown],
        meta="attempts",
    )


def attempt_tellings(spans: Sequence[Span]) -> list[list[str]]:
    """What hovering tells of each attempt, in their order: a head and lines; text of the study is escaped."""
    return [
        [
            f"trial {escape(span.trial)}, attempt {span.attempt}: {span.outcome}",
            f"{duration(span.seconds)}, of which {duration(span.lost)} lost",
            *([escape(span.message[:120])] if span.message else []),
        ]
        for span in spans
    ]


def _time(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-5]
