"""The values at the ends of what a space allows, to be tried on a recipe before any trial is run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

from hpo.records import ParamValue
from hpo.space.parameters import Choice, Constant, Derived
from hpo.space.ranges import is_number
from hpo.space.space import Point, SearchSpace

_CORNERS = 8  # dimensions up to which all corners are looked at
_DRAWS = 256  # corners looked at where there are more


def extreme_values(space: SearchSpace) -> dict[str, list[ParamValue]]:
    """The lowest and highest value, or all choices, of every parameter that is a key of the recipe.

    Where parameters depend on each other these are the ends of what was met at allowed points near the
    corners of the space: of all of them in a small one, of some in a large one.
    """
    own = {name: parameter for name, parameter in space.parameters.items() if not parameter.auxiliary}
    derived = any(isinstance(parameter, Derived) for parameter in own.values())
    if not space.plain or derived:
        return {name: values for name, values in _met(space).items() if name in own}
    found: dict[str, list[ParamValue]] = {}
    for name, parameter in own.items():
        if isinstance(parameter, Choice):
            found[name] = list(parameter.values)
        elif isinstance(parameter, Constant):
            found[name] = [parameter.value]
        elif not isinstance(parameter, Derived):
            found[name] = [parameter.low, parameter.high]
    return found


def _met(space: SearchSpace) -> dict[str, list[ParamValue]]:
    met: dict[str, dict[ParamValue, None]] = {}
    for point in _points(space):
        for name, value in space.from_unit(space.near(point)).items():
            met.setdefault(name, {})[value] = None
    return {name: _ends(list(values)) for name, values in met.items()}


def _ends(values: list[ParamValue]) -> list[ParamValue]:
    numbers = [value for value in values if is_number(value)]
    others = [value for value in values if not is_number(value)]
    return [*dict.fromkeys((min(numbers), max(numbers))), *others] if numbers else others


def _points(space: SearchSpace) -> Iterator[Point]:
    """The corners of the unit cube, and every choice with all else in the middle."""
    middle = [0.5] * len(space)
    for place, dimension in enumerate(space.dimensions.values()):
        units = [0.0, 1.0]
        if isinstance(dimension, Choice):
            units = [dimension.grid.unit(index) for index in range(dimension.levels)]
        for unit in units:
            yield (*middle[:place], unit, *middle[place + 1 :])
    if len(space) <= _CORNERS:
        yield from product((0.0, 1.0), repeat=len(space))
        return
    generator = random.Random(0)
    for _ in range(_DRAWS):
        yield tuple(float(generator.getrandbits(1)) for _ in middle)
