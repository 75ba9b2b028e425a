"""Full factorial grids: evenly spread, or of the powers of two that practitioners take by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from hpo.models.history import History, Origin, Proposal, derive_seed
from hpo.space.conditions import Dimension
from hpo.space.space import Float, Integer, Point, SearchSpace
from hpo.strategies.unused import first_unused
from hpo.validation import STRICT

_SHUFFLED = 1_000_000  # combinations of a grid that is put in a random order; a larger one goes in order
_LISTED = 100_000  # the same for a grid of which only a part is allowed
_MOVED = 1_000  # combinations that are moved to allowed points where none is allowed itself


def combinations(axes: Sequence[Sequence[float]], seed: int | None) -> Iterator[Point]:
    """Every combination of the axes' coordinates.

    Args:
        axes: the coordinates of each dimension, in [0, 1].
        seed: of a random order, in which a grid that is cut short still covers the space; None for the last
            dimension fastest.
    """
    total = int(np.prod([len(axis) for axis in axes], dtype=object)) if axes else 1
    shuffled = seed is not None and total <= _SHUFFLED
    order = np.random.default_rng(seed).permutation(total).tolist() if shuffled else range(total)
    for number in order:
        point: list[float] = []
        for axis in reversed(axes):
            number, index = divmod(number, len(axis))
            point.append(axis[index])
        yield tuple(reversed(point))


def spread(parameter: Dimension, count: int) -> list[float]:
    """Coordinates of at most `count` values, evenly spread from the lowest to the highest; all choices."""
    if not isinstance(parameter, Float | Integer):
        return [(index + 0.5) / parameter.levels for index in range(parameter.levels)]
    wanted = [index / (count - 1) for index in range(count)]
    return sorted({parameter.to_unit(parameter.from_unit(unit)) for unit in wanted})


@dataclass(frozen=True, config=STRICT)
class Grid:
    """A full factorial grid.

    Args:
        levels: values a numeric parameter takes, from its lowest to its highest; choices take all of theirs.
        shuffle: whether to go through the grid in a random order.
    """

    levels: Annotated[int, Field(ge=2)]
    shuffle: bool

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The next unused points of the grid; fewer, in the end none, when it is used up."""
        axes = [spread(parameter, self.levels) for parameter in history.space.dimensions.values()]
        seed = derive_seed(history.seed, "grid") if self.shuffle else None
        return grid_proposals(history, axes, seed, count)


def grid_proposals(
    history: History, axes: Sequence[Sequence[float]], seed: int | None, count: int
) -> list[Proposal]:
    """The next unused combinations of a grid; fewer, in the end none, when it is used up."""
    space = history.space
    points = combinations(axes, seed) if space.plain else allowed_combinations(space, axes, seed)
    unused = (point for point in points if space.key(point) not in history.taken)
    return first_unused(history, islice(unused, count), count, Origin.GRID, remaining=False)


def allowed_combinations(
    space: SearchSpace, axes: Sequence[Sequence[float]], seed: int | None
) -> Iterator[Point]:
    """The combinations of a grid that constraints allow, once each; where there are none, points near them.

    Args:
        space: one that is not plain.
        axes: the coordinates of each dimension, in [0, 1].
        seed: of a random order; None for the last dimension fastest.
    """
    points = list(islice(space.combinations(axes), _LISTED))
    if not points:
        yield from dict.fromkeys(map(space.near, islice(combinations(axes, seed), _MOVED)))
    elif seed is None or len(points) == _LISTED:
        yield from space.combinations(axes)
    else:
        yield from (points[number] for number in np.random.default_rng(seed).permutation(len(points)))


def doublings(parameter: Dimension, levels: int) -> list[float]:
    """Coordinates of the values that doubling gives.

    An integer takes the powers of two in its range, a positive real number its lowest value times a power of
    two. Values off the parameter's grid are left out. What has no doublings in its range (choices, ranges
    with 0 or below, fewer than two) takes an even spread of `levels` values.
    """
    if not isinstance(parameter, Float | Integer) or parameter.low <= 0:
        return spread(parameter, levels)
    first = 2 ** math.ceil(math.log2(parameter.low)) if isinstance(parameter, Integer) else parameter.low
    steps = range(int(math.log2(parameter.high / first) + 1e-9) + 1) if first <= parameter.high else ()
    values = [first * 2**step for step in steps]
    units = [parameter.to_unit(value) for value in values if parameter.problem(value) is None]
    return units if len(units) > 1 else spread(parameter, levels)


@dataclass(frozen=True, config=STRICT)
class PowersOfTwo:
    """A full factorial grid of powers of two.

    Args:
        levels: values of a numeric parameter that has no doublings in its range.
        shuffle: whether to go through the grid in a random order.
    """

    levels: Annotated[int, Field(ge=2)]
    shuffle: bool

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The next unused points of the grid; fewer, in the end none, when it is used up."""
        axes = [doublings(parameter, self.levels) for parameter in history.space.dimensions.values()]
        seed = derive_seed(history.seed, "grid") if self.shuffle else None
        return grid_proposals(history, axes, seed, count)
