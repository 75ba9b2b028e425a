"""The benchmark's curves as pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.peers import COMPARED
from benchmarks.problems import make
from benchmarks.run import INITIAL
from benchmarks.scores import Record, Results, spread
from benchmarks.table import LABELS

_COLOURS = {
    "ours": "#d62728",
    "old": "#f4a3a3",
    "ax": "#1f77b4",
    "optuna_gp": "#2ca02c",
    "optuna_tpe_multivariate": "#9467bd",
    "optuna_tpe": "#c5b0d5",
    "optuna_nsga2": "#8c564b",
    "smac": "#ff7f0e",
    "sobol": "#7f7f7f",
    "random": "#bbbbbb",
}
_COLUMNS = 4


def _label(peer: str) -> str:
    return LABELS[peer].strip("*")


def draw_curves(results: Results, path: Path) -> None:
    """The mean score after every trial, a panel a problem, with a band of one standard error."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(results.problems) // _COLUMNS)
    figure, axes = pyplot.subplots(
        rows, _COLUMNS, figsize=(4 * _COLUMNS, 3.2 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(results.problems) :]:
        axis.set_visible(False)
    for axis, problem in zip(axes.flat, results.problems, strict=False):
        regret = make(problem).is_regret
        axis.set_title(problem + (": simple regret" if regret else ": share of the hypervolume"), fontsize=10)
        axis.axvline(INITIAL, color="#dddddd", linewidth=1)
        if regret:
            axis.set_yscale("log")
        for peer in reversed(results.peers):
            _draw_curve(axis, results, problem, peer)
    handles = {line.get_label(): line for axis in axes.flat for line in axis.get_lines()}
    shown = [_label(peer) for peer in results.peers]
    figure.legend(
        [handles[name] for name in shown], shown, loc="outside lower center", ncols=len(shown), frameon=False
    )
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _draw_curve(axis, results: Results, problem: str, peer: str) -> None:  # type: ignore[no-untyped-def]
    runs = [own["curve"] for own in results.of(problem, peer)]
    if not runs:
        return
    points = [spread(scores) for scores in zip(*runs, strict=False)]
    trials = range(1, len(points) + 1)
    width = 2.2 if peer == "ours" else 1.2
    axis.plot(trials, [own.mean for own in points], color=_COLOURS[peer], linewidth=width, label=_label(peer))
    if len(runs) > 1:
        low, high = ([own.mean + sign * own.error for own in points] for sign in (-1, 1))
        axis.fill_between(trials, low, high, color=_COLOURS[peer], alpha=0.12, linewidth=0)


def draw_scaling(records: Iterable[Record], problems: list[str], path: Path) -> None:
    """CPU seconds of an ask against the trials told, a panel a problem."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    known = [own for own in records if "ask_cpu_s" in own]
    figure, axes = pyplot.subplots(
        1, len(problems), figsize=(4.5 * len(problems), 3.2), squeeze=False, layout="constrained"
    )
    for axis, problem in zip(axes.flat, problems, strict=True):
        axis.set(title=problem, xscale="log", yscale="log", xlabel="trials told", ylabel="CPU s, ask of 4")
        for peer in COMPARED:
            points = sorted(
                (own["told"], own["ask_cpu_s"])
                for own in known
                if (own["problem"], own["peer"]) == (problem, peer)
            )
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", color=_COLOURS[peer], label=_label(peer))
        axis.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
