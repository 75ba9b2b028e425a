"""The tree of cells behind `soo` and `bamsoo`: which centre is to be evaluated next. Standard library only.

The unit cube is split into `parts` equal cells along its longest side, these are split in turn, and a cell is
worth what its centre is worth; more is better. A sweep goes from the root down: at each depth the leaf of the
highest value is split if that exceeds every value split at smaller depths in the same sweep [Munos2011]. With
an odd number of parts the child in the middle has its parent's centre, which is not evaluated again.

The walk is made anew for every proposal, from the root, over everything that was told: values are looked up,
and a centre that has none yet is wanted. Its cell waits, and the walk goes on with the others, so that whole
arrays can be filled; where only cells are left that wait, they are split in the order of their depth, as
their turn comes in any case. With one trial at a time this is the sequence of the published algorithm.

References:
    [Munos2011] R. Munos. Optimistic optimization of a deterministic function without the knowledge of its
        smoothness. NeurIPS 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TypeAlias

from hpo.space.space import Point, SearchSpace

_FINEST = 1e-5  # side of a cell; a tenth of it, and centres could not be told apart (see `SearchSpace.key`)
_INSIDE = 1e-9  # of a side: how far within a cell its ends are looked at
_IDLE_SPLITS = 2_000  # without a centre that is wanted: then the walk gives up

# A centre, and the value of its parent's -> its own value; None where it is to be evaluated or under way.
CentreValue: TypeAlias = Callable[[Point, float | None], float | None]


@dataclass(frozen=True)
class Cell:
    """A box of the unit cube; side j is [places_j, places_j + 1] / parts^splits_j.

    Args:
        places: d numbers.
        splits: how often each side was split.
    """

    places: tuple[int, ...]
    splits: tuple[int, ...]

    @property
    def depth(self) -> int:
        """How many splits lead here from the whole cube."""
        return sum(self.splits)

    def ends(self, side: int, parts: int) -> tuple[float, float]:
        """Where a side begins and ends."""
        cells = parts ** self.splits[side]
        return self.places[side] / cells, (self.places[side] + 1) / cells

    def centre(self, parts: int) -> Point:
        """The middle; to the last bit that of the child in the middle."""
        pairs = zip(self.places, self.splits, strict=True)
        return tuple((2 * place + 1) / (2 * parts**splits) for place, splits in pairs)

    def children(self, side: int, parts: int) -> list[Cell]:
        """The cells that a side is split into, in their order."""
        splits = (*self.splits[:side], self.splits[side] + 1, *self.splits[side + 1 :])
        first = parts * self.places[side]
        return [
            Cell((*self.places[:side], first + part, *self.places[side + 1 :]), splits)
            for part in range(parts)
        ]


@dataclass(frozen=True)
class Leaf:
    """A cell that is not split, its allowed centre, and what that is worth; None: not known yet."""

    cell: Cell
    centre: Point
    value: float | None


@dataclass
class CellTree:
    """The tree over one space, grown as far as values go.

    Args:
        space: what to search.
        parts: children of a cell, odd.
        value_of: what a centre is worth.
    """

    space: SearchSpace
    parts: int
    value_of: CentreValue
    splits: int = field(default=0, init=False)
    _known: dict[int, list[tuple[float, int, Leaf]]] = field(default_factory=dict, init=False)
    _waiting: list[tuple[int, int, Leaf]] = field(default_factory=list, init=False)
    _made: int = field(default=0, init=False)

    def wanted(self) -> Iterator[Leaf]:
        """Cells whose centres have no value, each centre once, in the order in which they are needed.

        Ends where nothing is left to split, or where many splits in a row brought no new centre.
        """
        seen: set[Point] = set()
        idle = 0
        for leaf in self._leaves():
            key = self.space.key(leaf.centre)
            if leaf.value is None and key not in seen:
                seen.add(key)
                idle = 0
                yield leaf
            elif (idle := idle + 1) >= _IDLE_SPLITS * self.parts:
                return

    def _leaves(self) -> Iterator[Leaf]:
        """Every leaf when it is made, in the order of the splits."""
        d = len(self.space)
        yield self._leaf(Cell((0,) * d, (0,) * d), None)
        while self._known or self._waiting:
            split = 0
            for leaf in self._sweep():
                split += 1
                yield from self._split(leaf)
            if not split and self._waiting:
                yield from self._split(heappop(self._waiting)[-1])

    def _sweep(self) -> Iterator[Leaf]:
        """The leaves that one sweep splits; children of those before are there when it goes on."""
        if not self._known:
            return
        # cells of few values are used up above the published depth; then those below have their turn
        last = max(min(max(self._known), math.isqrt(self.splits + 1)), min(self._known))
        highest = None
        for depth in range(last + 1):
            heap = self._known.get(depth)
            if heap and (highest is None or -heap[0][0] > highest):
                value, _, leaf = heappop(heap)
                if not heap:
                    del self._known[depth]
                highest = -value
                yield leaf

    def _split(self, leaf: Leaf) -> Iterator[Leaf]:
        self.splits += 1
        side = self._longest(leaf.cell)
        assert side is not None
        for cell in leaf.cell.children(side, self.parts):
            yield self._leaf(cell, leaf.value)

    def _leaf(self, cell: Cell, parent: float | None) -> Leaf:
        centre = self.space.near(cell.centre(self.parts))
        leaf = Leaf(cell, centre, self.value_of(centre, parent))
        self._made += 1
        if self._longest(cell) is not None:
            if leaf.value is None:
                heappush(self._waiting, (cell.depth, self._made, leaf))
            else:
                heappush(self._known.setdefault(cell.depth, []), (-leaf.value, self._made, leaf))
        return leaf

    def _longest(self, cell: Cell) -> int | None:
        """The longest side that holds more than one value, the first of several; None if there is none."""
        sides = sorted(range(len(cell.splits)), key=lambda side: cell.splits[side])
        return next((side for side in sides if self._divides(cell, side)), None)

    def _divides(self, cell: Cell, side: int) -> bool:
        low, high = cell.ends(side, self.parts)
        dimension = list(self.space.dimensions.values())[side]
        if dimension.levels is None:
            return high - low >= _FINEST
        margin = _INSIDE * (high - low)
        return dimension.grid.index(low + margin) != dimension.grid.index(high - margin)
