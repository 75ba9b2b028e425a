"""Evenly stepped values as cells of the unit interval. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass

ON_GRID = 1e-9  # of a step: what rounding in decimal text may take away


@dataclass(frozen=True)
class UnitGrid:
    """The values `low`, `low + step`, ... on the unit interval, on a linear or a log scale.

    Args:
        low: the lowest value.
        step: distance between neighbours, above 0.
        count: how many values there are, at least 1.
        log: equal steps of the logarithm; needs `low` above 0.
    """

    low: float
    step: float
    count: int
    log: bool

    def _log_edge(self, index: int) -> float:
        """The logarithm of the lower edge of cell `index`; `count` gives the upper edge of the last cell."""
        if self.count == 1:
            return math.log(self.low) + (index - 0.5)
        if index == 0:  # the outer cells are as wide on both sides of their value
            return 2 * math.log(self.low) - self._log_edge(1)
        if index == self.count:
            return 2 * math.log(self.value(index - 1)) - self._log_edge(index - 1)
        return (math.log(self.value(index - 1)) + math.log(self.value(index))) / 2

    def value(self, index: int) -> float:
        """The value of cell `index`, from 0."""
        return self.low + index * self.step

    def unit(self, index: int) -> float:
        """The middle of cell `index`."""
        if not self.log:
            return (index + 0.5) / self.count
        first, last = self._log_edge(0), self._log_edge(self.count)
        return ((self._log_edge(index) + self._log_edge(index + 1)) / 2 - first) / (last - first)

    def index(self, unit: float) -> int:
        """The cell that holds a coordinate; a coordinate outside [0, 1] counts as the nearer end."""
        unit = min(max(unit, 0.0), 1.0)
        if not self.log:
            return min(int(unit * self.count), self.count - 1)
        first, last = self._log_edge(0), self._log_edge(self.count)
        edge = math.exp(first + unit * (last - first))
        # the cell's value v has its upper edge at sqrt(v (v + step)), so v follows from a quadratic
        guess = (math.sqrt(self.step**2 + 4 * edge**2) - self.step) / 2
        return min(max(math.ceil((guess - self.low) / self.step - ON_GRID), 0), self.count - 1)
