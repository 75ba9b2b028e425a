"""The PNG files of a report, for slides and papers: drawn with matplotlib, no browser needed."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpo.objectives import Direction
from hpo.reporting.convergence import Convergence
from hpo.reporting.figures.labels import params_label, place_labels
from hpo.reporting.figures.parameters import COLUMNS, is_log, is_number
from hpo.reporting.figures.style import FRONT, GREY, by_group, look
from hpo.reporting.material import Material
from hpo.study.snapshot import measured_trials, pareto_trials
from hpo.study.state import Trial

mpl.use("agg")
mpl.rcParams["text.parse_math"] = False  # names and values of a study are text, dollars and all

_DPI = 130
_NO_NAME = re.compile(r"[^\w.+-]")  # of a metric, in a file's name
_FONT = 7.0  # points
_MOST_LABELS = 25


def draw(material: Material, folder: Path) -> list[Path]:
    """Draw every picture that the study has the trials for.

    Args:
        folder: an existing folder for the files.

    Returns:
        The files.
    """
    drawn = []
    for name, figure in _figures(material):
        path = folder / f"{_NO_NAME.sub('_', name)}.png"
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            figure.savefig(temporary, dpi=_DPI, format="png")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        drawn.append(path)
    return drawn


def _figures(material: Material) -> Iterator[tuple[str, Figure]]:
    if not material.front:
        return
    for first, second in combinations(material.objectives, 2):
        yield f"front_{first}_{second}", _front(material, (first, second))
    yield "hypervolume", _hypervolume(material.convergence)
    for name in material.objectives:
        yield f"parameters_{name}", _parameters(material, name)
    if material.analysis.indices:
        yield "importance", _importance(material)
    if material.curves:
        yield "learning_curves", _curves(material)


def _plain(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def _front(material: Material, pair: tuple[str, str]) -> Figure:
    study, objectives = material.study, material.objectives
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = _plain(figure.add_subplot())
    completed = measured_trials(study, objectives)
    whole = {trial.id for trial in material.front}
    for group, trials in by_group(completed).items():
        colour, _, symbol = look(group)
        x, y = _columns(trials, pair)
        bars = [[trial.metrics[name].standard_error or 0.0 for trial in trials] for name in pair]
        axes.errorbar(x, y, xerr=bars[0], yerr=bars[1], fmt="none", elinewidth=0.7, ecolor=colour, alpha=0.5)
        rings = [FRONT if trial.id in whole else "none" for trial in trials]
        axes.scatter(
            x, y, c=colour, marker=symbol, s=34, edgecolors=rings, linewidths=1.3, label=group, zorder=3
        )
    front = pareto_trials(study, {name: objectives[name] for name in pair})
    x, y = _columns(sorted(front, key=lambda trial: trial.metrics[pair[0]].value), pair)
    where: Literal["post", "pre"] = "post" if objectives[pair[0]].direction is Direction.MIN else "pre"
    axes.step(x, y, where=where, color=FRONT, lw=1.2, label="front", zorder=2)
    for name, line in zip(pair, (axes.axvline, axes.axhline), strict=True):
        if name in study.baseline:
            line(study.baseline[name], ls=":", color="#555", lw=1, label="untuned model")
    axes.margins(0.1)
    axes.set(xlabel=_titled(material, pair[0]), ylabel=_titled(material, pair[1]))
    names = ", ".join(study.parameters)
    axes.set_title(f"{study.name}: labels are ({names})", fontsize=9, loc="left")
    axes.legend(fontsize=7, frameon=False)
    figure.draw_without_rendering()
    _label(axes, front, completed, pair, study.parameters)
    return figure


def _label(
    axes: Axes,
    front: Sequence[Trial],
    completed: Sequence[Trial],
    pair: tuple[str, str],
    names: Sequence[str],
) -> None:
    """Write the front's parameters where there is room."""
    shown = list(front)[:_MOST_LABELS]
    mine = {trial.id for trial in shown}
    others = [trial for trial in completed if trial.id not in mine]
    box = axes.get_window_extent()
    scale = 72.0 / axes.figure.dpi  # points a pixel

    def points(trials: Sequence[Trial]) -> list[tuple[float, float]]:
        rows = [tuple(trial.metrics[name].value for name in pair) for trial in trials]
        return [
            ((x - box.x0) * scale, (y - box.y0) * scale)
            for x, y in (axes.transData.transform(rows).tolist() if rows else [])
        ]

    texts = [params_label(trial, names) for trial in shown]
    offsets = place_labels(
        points(shown), points(others), texts, (box.width * scale, box.height * scale), _FONT
    )
    for trial, text, offset in zip(shown, texts, offsets, strict=True):
        if offset is not None:
            axes.annotate(
                text,
                (trial.metrics[pair[0]].value, trial.metrics[pair[1]].value),
                xytext=offset,
                textcoords="offset points",
                fontsize=_FONT,
                ha="center",
                va="center",
                arrowprops={"arrowstyle": "-", "color": "#999", "lw": 0.5, "shrinkA": 0, "shrinkB": 4},
                zorder=4,
            )


def _columns(trials: Sequence[Trial], pair: tuple[str, str]) -> tuple[list[float], list[float]]:
    return (
        [trial.metrics[pair[0]].value for trial in trials],
        [trial.metrics[pair[1]].value for trial in trials],
    )


def _titled(material: Material, name: str) -> str:
    return f"{name} ({material.objectives[name].direction.value})"


def _hypervolume(convergence: Convergence) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    hours = [convergence.gpu_hours[count - 1] for count in convergence.counted]
    for axes, x, title in (
        (left, convergence.counted, "completed trials"),
        (right, hours, "GPU-hours, lost ones included"),
    ):
        _plain(axes).step(x, convergence.volumes, where="post", color=look("model-proposed")[0])
        axes.set_xlabel(title)
    left.set_ylabel("hypervolume")
    return figure


def _parameters(material: Material, objective: str) -> Figure:
    study = material.study
    names = study.parameters
    columns = min(COLUMNS, max(1, len(names)))
    rows = -(-len(names) // columns) or 1
    figure = Figure(figsize=(2.9 * columns, 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    everyone = list(study.trials.values())
    front = {trial.id for trial in material.front}
    for place, name in enumerate(names):
        axes = _plain(panels[place // columns][place % columns])
        numeric = is_number(everyone, name)
        for group, trials in by_group(measured_trials(study, material.objectives)).items():
            own = [trial for trial in trials if name in trial.params]
            x = [trial.params[name] if numeric else str(trial.params[name]) for trial in own]
            rings = [FRONT if trial.id in front else "none" for trial in own]
            y = [trial.metrics[objective].value for trial in own]
            axes.scatter(x, y, c=look(group)[0], marker=look(group)[2], s=20, edgecolors=rings, label=group)
        if is_log(material.analysis.space, name):
            axes.set_xscale("log")
        axes.set_xlabel(name)
    for axes in list(panels.flat)[len(names) :]:
        axes.set_visible(False)
    panels[0][0].set_ylabel(_titled(material, objective))
    panels[0][0].legend(fontsize=6, frameon=False)
    return figure


def _importance(material: Material) -> Figure:
    told = material.analysis.indices
    most = max(len(own.names) for own in told.values())
    figure = Figure(figsize=(3.8 * len(told), 1.3 + 0.45 * most), layout="constrained")
    panels = figure.subplots(1, len(told), squeeze=False)[0]
    for axes, (name, own) in zip(panels, told.items(), strict=True):
        for offset, label, value, ends, colour in (
            (-0.19, "total", own.total, own.total_range, look("model-proposed")[0]),
            (0.19, "by itself", own.first, own.first_range, "#9cc3e4"),
        ):
            y = [place + offset for place in range(len(own.names))]
            bars = [(value - ends[:, 0]).clip(0), (ends[:, 1] - value).clip(0)]
            axes.barh(
                y, value, height=0.36, xerr=bars, color=colour, label=label, error_kw={"elinewidth": 0.8}
            )
        axes.set_yticks(range(len(own.names)), own.names, fontsize=8)
        axes.invert_yaxis()
        _plain(axes).set(xlabel="Sobol index", title=name)
    panels[0].legend(fontsize=7, frameon=False)
    return figure


def _curves(material: Material) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    front = {trial.number for trial in material.front}
    for axes, kind in zip(figure.subplots(1, 2), ("training", "validation"), strict=True):
        for curve in sorted(material.curves, key=lambda own: own.number in front):
            rows = getattr(curve, kind)
            own = curve.number in front
            axes.plot(
                [step for step, _ in rows],
                [loss for _, loss in rows],
                marker="." if len(rows) < 3 else None,
                color=FRONT if own else GREY,
                lw=1.2 if own else 0.6,
                alpha=1.0 if own else 0.6,
            )
        _plain(axes).set(xlabel="step", ylabel="nats per token", title=f"{kind} loss")
    return figure
