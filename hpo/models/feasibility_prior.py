"""What is believed beforehand of whether configurations work, as a function of points of the unit cube.

The search asks thousands of times and climbs along the answers. So a prior that names the few parameters
it depends on is asked on a grid of them, once, and interpolated in between, which gives a slope as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from hpo.models.history import FeasibilityPrior
from hpo.space.conditions import Dimension
from hpo.space.parameters import Choice
from hpo.space.space import SearchSpace

PointPrior = Callable[[Tensor], Tensor]  # k x d points, not always rounded, to k probabilities of working

_MOST_ASKED = 512
_KNOTS = (9, 5, 3, 2)  # of a number; fewer where there are many parameters


@dataclass(frozen=True)
class GridAxis:
    """One coordinate that a prior depends on.

    Args:
        knots: coordinates at which the prior is asked, ascending.
        ordered: whether there is anything in between; else the nearest knot counts.
    """

    column: int
    knots: Tensor
    ordered: bool


def prior_at_points(prior: FeasibilityPrior, space: SearchSpace) -> PointPrior:
    """A prior as a function of points.

    Args:
        prior: of configurations of the space. If it has `names`, these parameters decide alone.
    """
    axes = _axes(space, getattr(prior, "names", None))
    if not axes:
        return lambda X: torch.tensor([prior(space.from_unit(row)) for row in X.tolist()], dtype=X.dtype)
    middle = [0.5] * len(space)

    def asked(units: Sequence[float]) -> float:
        point = list(middle)
        for axis, unit in zip(axes, units, strict=True):
            point[axis.column] = unit
        return prior(space.from_unit(point))

    values = [asked(units) for units in product(*(axis.knots.tolist() for axis in axes))]
    table = torch.tensor(values, dtype=torch.float64)
    return lambda X: interpolated(table, axes, X)


def interpolated(table: Tensor, axes: Sequence[GridAxis], X: Tensor) -> Tensor:
    """Values between the knots, linear along every ordered axis; differentiable in X.

    Args:
        table: one value for each combination of knots, the last axis varying fastest.
        axes: at least one.
        X: k x d points.

    Returns:
        k values.
    """
    parts = [(torch.zeros(len(X), dtype=torch.long), torch.ones(len(X), dtype=X.dtype))]
    for axis in axes:
        x, knots = X[:, axis.column].contiguous(), axis.knots
        if axis.ordered:
            low = (torch.searchsorted(knots, x.detach(), right=True) - 1).clamp(0, len(knots) - 2)
            share = ((x - knots[low]) / (knots[low + 1] - knots[low])).clamp(0.0, 1.0)
            steps = [(low, 1.0 - share), (low + 1, share)]
        else:
            steps = [((x.detach()[:, None] - knots).abs().argmin(1), torch.ones_like(x))]
        parts = [
            (index * len(knots) + step, weight * share) for index, weight in parts for step, share in steps
        ]
    return torch.stack([weight * table[index] for index, weight in parts]).sum(0)


def _axes(space: SearchSpace, names: Sequence[str] | None) -> list[GridAxis]:
    """The coordinates of these parameters; none where others decide about them too, or a grid is too much."""
    if names is None or not set(names) <= set(space.dimensions) - set(space.conditions):
        return []
    columns = enumerate(space.dimensions.items())
    named = [(column, dimension) for column, (name, dimension) in columns if name in names]
    for most in _KNOTS:
        axes = [_axis(column, dimension, most) for column, dimension in named]
        if math.prod(len(axis.knots) for axis in axes) <= _MOST_ASKED:
            return axes
    return []


def _axis(column: int, dimension: Dimension, most: int) -> GridAxis:
    levels = dimension.levels
    if levels is None:
        return GridAxis(column, torch.linspace(0.0, 1.0, most, dtype=torch.float64), ordered=True)
    ordered, count = not isinstance(dimension, Choice), levels
    if ordered:
        count = min(levels, most)
    places = sorted({round(number * (levels - 1) / (count - 1)) for number in range(count)})
    units = [dimension.grid.unit(place) for place in places]
    return GridAxis(column, torch.tensor(units, dtype=torch.float64), ordered)
