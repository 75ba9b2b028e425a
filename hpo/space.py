"""The search space: named parameters, checked values, and the unit cube that strategies search.

A point is a vector of float64 in [0, 1]^d, one coordinate per parameter that can vary, in the alphabetical
order of the names (so that the order in a file changes nothing). A rounded point has every coordinate in the
middle of its cell; see `hpo.parameters`. Constants and parameters with one value take no coordinate.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from hpo.errors import InputError, Problem
from hpo.parameters import Choice, Constant, Float, Integer, Parameter
from hpo.records import Params, ParamValue

__all__ = ["Choice", "Constant", "Float", "Integer", "Parameter", "Point", "SearchSpace", "parse_space"]

Point = tuple[float, ...]  # coordinates in [0, 1], one per dimension

_KINDS: dict[str, type[Float] | type[Integer] | type[Choice] | type[Constant]] = {
    "float": Float,
    "integer": Integer,
    "choice": Choice,
    "constant": Constant,
}
# Two points nearer than this in every continuous coordinate are the same proposal.
_SAME = 6  # decimals


def _varies(parameter: Parameter) -> TypeGuard[Float | Integer | Choice]:
    return parameter.levels != 1


@dataclass(frozen=True)
class SearchSpace:
    """Named parameters.

    Args:
        parameters: name -> parameter; at least one.

    Raises:
        InputError: no parameter.
    """

    parameters: Mapping[str, Parameter]
    dimensions: Mapping[str, Float | Integer | Choice] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.parameters:
            raise InputError([("space", "expected at least one parameter, got none")])
        varying = {name: own for name, own in sorted(self.parameters.items()) if _varies(own)}
        object.__setattr__(self, "dimensions", varying)

    def __len__(self) -> int:
        """The number of coordinates of a point, d; 0 where nothing varies."""
        return len(self.dimensions)

    @property
    def size(self) -> int | None:
        """How many configurations there are; None where a parameter is continuous."""
        levels = [dimension.levels for dimension in self.dimensions.values()]
        return math.prod(level for level in levels if level) if None not in levels else None

    def problems(self, params: Mapping[str, object]) -> list[Problem]:
        """(name, what is wrong) for a configuration; empty where it belongs to the space."""
        found = [(name, "expected a value, got none") for name in self.parameters if name not in params]
        for name, value in params.items():
            if name not in self.parameters:
                found.append((name, f"unknown parameter: expected one of {', '.join(self.parameters)}"))
            elif (wrong := self.parameters[name].problem(value)) is not None:
                found.append((name, wrong))
        return found

    def contains(self, params: Mapping[str, object]) -> bool:
        """Whether a configuration has exactly the parameters of the space, each with a value of its own."""
        return not self.problems(params)

    def check(self, params: Mapping[str, object]) -> None:
        """Refuse a configuration that is not of the space.

        Raises:
            InputError: with every problem, by key path `params.<name>`.
        """
        found = self.problems(params)
        if found:
            raise InputError([(f"params.{name}", text) for name, text in found])

    def to_unit(self, params: Params) -> Point:
        """The rounded point of a configuration of the space (see `check`), in [0, 1]^d."""
        return tuple(own.to_unit(params[name]) for name, own in self.dimensions.items())

    def from_unit(self, point: Sequence[float]) -> dict[str, ParamValue]:
        """The configuration at a point; every parameter is there, in the order of the space.

        Args:
            point: d coordinates; one outside [0, 1] counts as the nearer end.
        """
        varying = {
            name: own.from_unit(float(unit))
            for (name, own), unit in zip(self.dimensions.items(), point, strict=True)
        }
        return {
            name: varying[name] if name in varying else own.level(0) for name, own in self.parameters.items()
        }

    def round(self, point: Sequence[float]) -> Point:
        """The point with every coordinate in the middle of its cell; continuous ones stay where they are."""
        return tuple(
            min(max(float(unit), 0.0), 1.0) if own.levels is None else own.grid.unit(own.grid.index(unit))
            for own, unit in zip(self.dimensions.values(), point, strict=True)
        )

    def key(self, point: Sequence[float]) -> Point:
        """What two points share if they are the same proposal."""
        return tuple(round(unit, _SAME) for unit in self.round(point))

    def configurations(self) -> Iterator[Point]:
        """Every rounded point of a finite space, the last dimension fastest; none where `size` is None."""
        if self.size is None:
            return
        counts = [dimension.levels or 1 for dimension in self.dimensions.values()]
        for number in range(self.size):
            yield self._numbered(number, counts)

    def _numbered(self, number: int, counts: Sequence[int]) -> Point:
        indices: list[int] = []
        for count in reversed(counts):
            number, index = divmod(number, count)
            indices.append(index)
        grids = [dimension.grid for dimension in self.dimensions.values()]
        return tuple(grid.unit(index) for grid, index in zip(grids, reversed(indices), strict=True))

    def describe(self) -> dict[str, Any]:
        """The space as JSON values: name -> description, which `parse_space` reads."""
        return {name: own.describe() for name, own in self.parameters.items()}

    def identity(self) -> str:
        """A hash of the description; the order of the parameters does not matter."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _parse_parameter(value: object) -> Parameter:
    if isinstance(value, Float | Integer | Choice | Constant):
        return value
    if isinstance(value, str):
        from hpo.grammar import parse_parameter  # Hydra's parser: loaded only where a text is to be read

        return parse_parameter(value)
    if isinstance(value, Mapping):
        return _from_description(value)
    if isinstance(value, bool | int | float):
        return Constant(value)
    raise InputError(f"expected a parameter, a sweep expression or a plain value, got {value!r}")


def _from_description(description: Mapping[str, Any]) -> Parameter:
    settings = dict(description)
    kind = settings.pop("type", None)
    if kind not in _KINDS:
        raise InputError(f"type: expected one of {', '.join(_KINDS)}, got {kind!r}")
    try:
        return _KINDS[kind](**settings)
    except TypeError as error:
        raise InputError(f"{kind}: {error}, got {settings!r}") from error


def _leaves(space: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in space.items():
        if isinstance(value, Mapping) and value and "type" not in value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def parse_space(space: Mapping[str, object] | SearchSpace) -> SearchSpace:
    """Read a search space.

    Args:
        space: name -> a parameter, an expression of Hydra's sweep grammar, its `describe()` form, or a plain
            number or truth value (a constant). A mapping of names is a branch: its parameters have dotted
            names, which is what Hydra makes of `space.trainer.args.warmup_steps=...`.

    Raises:
        InputError: with every problem of every parameter, by key path `space.<name>`.
    """
    if isinstance(space, SearchSpace):
        return space
    parameters: dict[str, Parameter] = {}
    problems: list[Problem] = []
    for name, value in _leaves(space):
        try:
            parameters[name] = _parse_parameter(value)
        except InputError as error:
            problems += error.under(f"space.{name}")
    if problems:
        raise InputError(problems)
    return SearchSpace(parameters)
