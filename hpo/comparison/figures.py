"""The picture of a comparison: levels over trials and over GPU-hours, with bands of one standard error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpo.comparison.curves import Curve
from hpo.comparison.groups import Comparison

mpl.use("agg")


def draw(compared: Comparison, path: Path) -> None:
    """Draw both curves beside each other into a PNG file."""
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, compared, compared.trials, "trials")
    _curves(right, compared, compared.hours, "GPU-hours")
    kind = "incumbent " if compared.measure.reference is None else ""
    left.set_ylabel(f"{kind}{compared.measure.name}: mean ± standard error")
    left.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


def _curves(axes: Axes, compared: Comparison, curves: Mapping[str, Curve], label: str) -> None:
    for place, (name, curve) in enumerate(curves.items()):
        colour, count = f"C{place}", len(compared.groups[name])
        mean = [compared.measure.shown(level) for level in curve.mean]
        error = [0.0 if math.isnan(value) else value for value in curve.error]
        low = [value - spread for value, spread in zip(mean, error, strict=True)]
        high = [value + spread for value, spread in zip(mean, error, strict=True)]
        axes.fill_between(curve.x, low, high, step="post", alpha=0.2, lw=0, color=colour)
        studies = "1 study" if count == 1 else f"{count} studies"
        axes.step(curve.x, mean, where="post", color=colour, label=f"{name} ({studies})")
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
