"""The grid that practitioners use by hand: powers of two."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hpo.config import STRICT
from hpo.history import History, Proposal, derive_seed
from hpo.rules import Dimension
from hpo.space import Float, Integer
from hpo.strategies.grid import grid_proposals, spread


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
