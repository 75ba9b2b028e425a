"""A figure of what simulated runs of a study came to, beside what came."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpo.forecasts.simulated import SimulatedEnds, Spread
from hpo.reporting.figures.style import FRONT, GREY, finish

BINS = 24


def forecast_figure(forecast: SimulatedEnds, hours: float, gpu_hours: float) -> go.Figure:
    """How the runs are spread, their 90% shaded, and where the study is.

    Args:
        hours: since the study's creation.
        gpu_hours: that it has used.
    """
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=["end, hours after the start", "GPU-hours"], horizontal_spacing=0.08
    )
    shown = (([seconds / 3600 for seconds in forecast.seconds], hours), (forecast.gpu_hours, gpu_hours))
    for column, (runs, came) in enumerate(shown, start=1):
        own = Spread.of(runs)
        figure.add_trace(
            go.Histogram(x=runs, nbinsx=BINS, marker={"color": GREY}, name="runs", showlegend=False),
            row=1,
            col=column,
        )
        figure.add_vrect(
            own.low, own.high, fillcolor=GREY, opacity=0.2, line_width=0, layer="below", row=1, col=column
        )
        figure.add_vline(came, line={"color": FRONT, "width": 2}, row=1, col=column)
    figure.update_yaxes(title="simulated runs", col=1)
    return finish(figure, 300, margin={"l": 64, "r": 24, "t": 50, "b": 40})
