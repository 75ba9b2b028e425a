"""What a problem is: a space, noiseless values, the noise of what is told, and how a run is scored.

Every objective is minimised. No optimiser is told a reference point or an optimum: they are for scoring only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.pareto import front, hypervolume
from hpo.space.space import Choice, Float, Integer

Dimension = Float | Integer | Choice
Params = Mapping[str, float | int | str]
Values = tuple[float, ...]
Noise = Callable[[Values, np.random.Generator], Values]  # true values to told ones
Array = NDArray[Any]
Columns = Mapping[str, Array]  # name -> n values


@dataclass(frozen=True)
class Problem:
    """What to minimise, and how a set of values is scored.

    Args:
        space: name -> dimension.
        objectives: names, in the order of the values.
        evaluate: noiseless values of a configuration; None where its trial fails.
        reference: the reference point; empty with one objective.
        largest: the hypervolume of the true front from there, or the smallest value with one objective.
        noise: what is told in place of the values; None where they are told as they are.
        conditions: name -> expression, without which a dimension has no effect.
    """

    space: Mapping[str, Dimension]
    objectives: tuple[str, ...]
    evaluate: Callable[[Params], Values | None]
    reference: Values
    largest: float
    noise: Noise | None = None
    conditions: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_regret(self) -> bool:
        """Whether less is better in the score."""
        return not self.reference

    def observe(self, values: Values, seed: int, number: int) -> Values:
        """The values as told: one noise for every optimiser at the same trial number of the same seed."""
        return values if self.noise is None else self.noise(values, np.random.default_rng([seed, number]))

    def score(self, values: Sequence[Values]) -> float:
        """The share of the largest hypervolume (1 is the true front), or the simple regret.

        Args:
            values: noiseless, of the trials that did not fail; none scores 0, or NaN as a regret.
        """
        if self.is_regret:
            return min((value for (value,) in values), default=float("nan")) - self.largest
        return hypervolume(values, self.reference) / self.largest

    def curve(self, values: Sequence[Values | None]) -> list[float]:
        """The score after each trial; a failed one, None, leaves it as it was."""
        scores: list[float] = []
        known: list[Values] = []
        for row in values:
            if row is not None:
                known.append(row)
            if row is None and scores:
                scores.append(scores[-1])
            else:
                scores.append(self.score(known))
        return scores


def relative_noise(*shares: float) -> Noise:
    """Normal errors, their standard deviations these shares of the values."""

    def told(values: Values, generator: np.random.Generator) -> Values:
        errors = generator.normal(size=len(values))
        return tuple(
            float(value * (1 + share * error))
            for value, share, error in zip(values, shares, errors, strict=True)
        )

    return told


def random_columns(space: Mapping[str, Dimension], count: int, seed: int) -> dict[str, Array]:
    """Configurations uniform in a space's unit cube, by column."""
    units = np.random.default_rng(seed).random((count, len(space)))
    return {
        name: np.array([dimension.from_unit(unit) for unit in units[:, i]])
        for i, (name, dimension) in enumerate(space.items())
    }


def single(params: Params) -> dict[str, Array]:
    """One configuration as columns of one row."""
    return {name: np.array([value]) for name, value in params.items()}


def looked_up(table: Mapping[str, float], names: Array) -> Array:
    """The table's number for each name."""
    return np.array([table[str(name)] for name in names], dtype=float)


def front_volume(rows: Array, reference: Values) -> float:
    """The hypervolume of the front of n x m values."""
    known = [tuple(row) for row in rows.tolist()]
    return hypervolume([known[i] for i in front(known)], reference)
