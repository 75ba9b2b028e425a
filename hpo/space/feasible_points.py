"""Finds allowed points: parameter by parameter, back where a constraint fails. Standard library only.

A search meets every combination of the coordinates that it is given at most once, and judges a constraint as
soon as its last parameter has a value, so that narrow regions are found where drawing points finds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, product

from hpo.records import ParamValue
from hpo.space.conditions import Dimension, Step, decode, middle
from hpo.space.grid import UnitGrid
from hpo.space.parameters import Choice, Float, Integer

Point = tuple[float, ...]
Options = Callable[[int, Dimension], Iterable[float]]  # place in the point, dimension -> coordinates to try

_REAL_TRIES = 32  # evenly spread values of a real number to try, besides the wanted one
_NEAR = 5_000  # values tried for one allowed point near another
_HALVINGS = 30
_DRAWS = 4_096
_CORNERS = 10  # dimensions up to which all corners are tried
_STARTS = 64  # draws from which a search is made where none is allowed itself
_CHECKED = 64  # points at which every expression is tried out


class FeasiblePoints:
    """One search through a space.

    Args:
        options: the coordinates to try for a dimension, in their order.
        tries: values to try before giving up.
    """

    def __init__(self, steps: Sequence[Step], options: Options, tries: float = math.inf) -> None:
        self._steps, self._options, self._left = steps, options, tries
        self._size = sum(step.coordinate is not None for step in steps)

    @property
    def cut_short(self) -> bool:
        """Whether it ended because of its number of tries."""
        return self._left <= 0

    def points(self) -> Iterator[Point]:
        """Every allowed point with the given coordinates; inactive ones have their fixed coordinate."""
        yield from self._descend(0, {}, [0.0] * self._size)

    def _descend(self, depth: int, values: dict[str, ParamValue], point: list[float]) -> Iterator[Point]:
        if depth == len(self._steps):
            yield tuple(point)
            return
        step = self._steps[depth]
        for unit, value in self._candidates(step, values):
            self._left -= 1
            if self.cut_short:
                return
            if step.coordinate is not None:
                point[step.coordinate] = unit
            if value is not None:
                values[step.name] = value
            if step.permits(values):
                yield from self._descend(depth + 1, values, point)
            values.pop(step.name, None)

    def _candidates(
        self, step: Step, values: dict[str, ParamValue]
    ) -> Iterator[tuple[float, ParamValue | None]]:
        """(coordinate, value) to try; the value None for an inactive parameter, the coordinate 0 for none."""
        parameter = step.parameter
        if not step.active(values):
            yield (0.0 if step.coordinate is None else middle(parameter)), None  # type: ignore[arg-type]
        elif step.expression is not None:
            try:
                yield 0.0, step.expression.value(values)
            except KeyError:
                yield 0.0, None  # computed from an inactive one
            except ArithmeticError:
                return
        elif isinstance(parameter, Float | Integer | Choice) and step.coordinate is not None:
            yield from (
                (unit, parameter.from_unit(unit)) for unit in self._options(step.coordinate, parameter)
            )
        else:
            yield 0.0, parameter.level(0)  # type: ignore[union-attr] # derived ones have an expression


def all_cells(place: int, dimension: Dimension) -> Iterator[float]:
    """Options: every value of a dimension with finitely many, ascending."""
    return (dimension.grid.unit(index) for index in range(dimension.levels or 0))


def nearest_first(point: Sequence[float]) -> Options:
    """Options: coordinates of a dimension in the order of their distance from a point's."""

    def options(place: int, dimension: Dimension) -> Iterator[float]:
        wanted = min(max(float(point[place]), 0.0), 1.0)
        if dimension.levels is not None:
            return _outwards(dimension.grid, dimension.grid.index(wanted), dimension.levels)
        spread = [0.0, 1.0, *((number + 0.5) / _REAL_TRIES for number in range(_REAL_TRIES))]
        return iter([wanted, *sorted(spread, key=lambda unit: abs(unit - wanted))])

    return options


def _outwards(grid: UnitGrid, start: int, levels: int) -> Iterator[float]:
    yield grid.unit(start)
    for distance in range(1, levels):
        yield from (grid.unit(index) for index in (start - distance, start + distance) if 0 <= index < levels)


def is_feasible(steps: Sequence[Step], point: Sequence[float]) -> bool:
    """Whether every derived value at a point can be computed and every constraint is met."""
    values, broken = decode(steps, point)
    return not broken and all(step.permits(values) for step in steps)


def feasible_near(steps: Sequence[Step], point: Sequence[float], known: Point) -> Point:
    """An allowed point near another.

    Args:
        point: d coordinates in [0, 1].
        known: an allowed point, from which the way is halved where the search finds none.
    """
    nearest = next(FeasiblePoints(steps, nearest_first(point), _NEAR).points(), None)
    if nearest is not None:
        return nearest
    here, there = list(known), [float(unit) for unit in point]
    for _ in range(_HALVINGS):
        half = [(start + end) / 2 for start, end in zip(here, there, strict=True)]
        here, there = (half, there) if is_feasible(steps, half) else (here, half)
    return tuple(here)


def find_feasible(steps: Sequence[Step]) -> Point | None:
    """Some allowed point; None where there is none, or none was met in a long search.

    Raises:
        InputError: an expression that takes a string for a number, or the other way round, where that shows.
    """
    size = sum(step.coordinate is not None for step in steps)
    for point in islice(_spread(size), _CHECKED):
        is_feasible(steps, point)
    search = FeasiblePoints(steps, nearest_first([0.5] * size), _NEAR)
    central = next(search.points(), None)
    finite = all(step.parameter.levels is not None for step in steps)
    if central is not None or (finite and not search.cut_short):
        return central
    corners = product((0.0, 1.0), repeat=size) if size <= _CORNERS else ()
    for point in chain(corners, islice(_spread(size), _DRAWS)):
        if is_feasible(steps, point):
            return point
    starts = islice(_spread(size), _STARTS)
    searches = (FeasiblePoints(steps, nearest_first(start), _NEAR).points() for start in starts)
    return next((point for points in searches for point in points), None)


def _spread(size: int) -> Iterator[Point]:
    """Endless evenly spread points: multiples of the powers of one irrational number, modulo 1.

    Martin Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018.
    """
    root = 2.0
    for _ in range(50):  # the positive root of x^(size + 1) = x + 1
        root = (1 + root) ** (1 / (size + 1))
    number = 1
    while True:
        yield tuple((0.5 + number * root ** -(place + 1)) % 1 for place in range(size))
        number += 1
