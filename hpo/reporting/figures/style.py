"""What all figures of a page share: colours, symbols, fonts, and the texts that hovering shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from hpo.display.tables import metric_text
from hpo.formatting import number
from hpo.objectives import Objectives
from hpo.study.state import Study, Trial, TrialState

FRONT = "#c0262d"
GREY = "#9aa3ad"
# group -> colour, symbol of plotly, symbol of matplotlib
GROUPS: Mapping[str, tuple[str, str, str]] = {
    "initial design": ("#7a8794", "circle", "o"),
    "model-proposed": ("#1f6fb4", "diamond", "D"),
    "random": ("#d08a1d", "square", "s"),
    "evolved": ("#6d4fa3", "triangle-up", "^"),
    "grid": ("#2b8a74", "pentagon", "p"),
    "measured again": ("#17a2b8", "hexagon", "h"),
    "given by hand": ("#8c5a2b", "star", "*"),
}
_DESIGN = frozenset({"centre", "usual", "sobol", "lhs", "related"})
_NAMES = {
    "model": "model-proposed",
    "evolution": "evolved",
    "replicate": "measured again",
    "enqueued": "given by hand",
}


def group_of(trial: Trial) -> str:
    """Which of `GROUPS` a trial belongs to, by the way it was proposed."""
    return "initial design" if trial.origin in _DESIGN else _NAMES.get(trial.origin, trial.origin)


def look(group: str) -> tuple[str, str, str]:
    """Colour and symbols of a group, also of one that a later version adds."""
    return GROUPS.get(group, ("#555555", "x", "X"))


def by_group(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """The trials of each group, the groups in the order of `GROUPS`."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(group_of(trial), []).append(trial)
    order = [*GROUPS, *sorted(found.keys() - GROUPS.keys())]
    return {group: found[group] for group in order if group in found}


def failed(study: Study) -> list[Trial]:
    """The trials without a value: infeasible or failed."""
    return study.in_state(TrialState.FAILED)


def tellings(study: Study) -> dict[str, Any]:
    """What hovering tells of each trial, for the page's script; all text of the study is escaped.

    Returns:
        The names of parameters and metrics, and by a trial's number its head, what became of it, and a value
        for each name, "" where it has none.
    """
    params, metrics = study.parameters, study.metrics
    names = [*map(escape, params), *(f"<i>{escape(name)}</i>" for name in metrics)]
    rows = {trial.number: _telling(trial, params, metrics) for trial in study.trials.values()}
    return {"names": names, "trials": rows}


def _telling(trial: Trial, params: Sequence[str], metrics: Sequence[str]) -> list[str]:
    head = f"trial {escape(trial.id)}  {trial.state.value}, {escape(group_of(trial))}"
    note = f"{trial.cause.value}: {escape(trial.message[:120])}" if trial.cause else ""
    values = [escape(number(trial.params[name])) if name in trial.params else "" for name in params]
    return [head, note, *values, *(metric_text(trial, name) for name in metrics)]


def marks(trials: Sequence[Trial], **settings: Any) -> dict[str, Any]:
    """What makes a trace's points tell of their trials: the page's script makes the texts (`tellings`)."""
    return {"customdata": [trial.number for trial in trials], "meta": "trials", **settings}


def axis_title(name: str, objectives: Objectives) -> str:
    """An objective with its direction, else the metric's name."""
    return f"{escape(name)} ({objectives[name].direction.value})" if name in objectives else escape(name)


def finish(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """Give a figure the house's looks.

    Args:
        figure: with its traces.
        height: pixels.
        layout: further settings of the layout.
    """
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 78, "r": 24, "t": 36, "b": 56},
        font={"family": "system-ui, sans-serif", "size": 12, "color": "#222"},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={"bgcolor": "white", "font": {"size": 12}, "align": "left"},
        hovermode="closest",
    )
    figure.update_layout(**layout)
    looks = {
        "gridcolor": "#e8ebee", "zeroline": False, "linecolor": "#b8c0c8", "ticks": "outside",
        "exponentformat": "e", "automargin": True,  # else a title lies upon long numbers
    }  # fmt: skip
    figure.update_xaxes(**looks)
    figure.update_yaxes(**looks, title_standoff=8)
    figure.update_annotations(font_size=12)
    return figure
