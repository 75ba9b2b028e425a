"""The search space: named parameters, checked values, and the unit cube that strategies search.

A point is a vector of float64 in [0, 1]^d, one coordinate per parameter that can vary, in the alphabetical
order of the names (so that the order in a file changes nothing). A rounded point has every coordinate in the
middle of its cell; see `hpo.space.parameters`. Constants, derived parameters and those with one value take no
coordinate. Parameters may depend on each other, see `hpo.space.conditions`: the coordinate of an inactive one
is a fixed one, so that equal configurations have equal points, and not every point is allowed then.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hpo.errors import InputError, Problem
from hpo.records import Params, ParamValue
from hpo.space.conditions import Dimension, Step, decode, dependency_problems, middle, steps_of
from hpo.space.descriptions import leaves, read_parameters
from hpo.space.feasible_points import (
    FeasiblePoints,
    Point,
    all_cells,
    feasible_near,
    find_feasible,
    is_feasible,
)
from hpo.space.parameters import Choice, Constant, Derived, Float, Integer, Parameter

__all__ = [
    "Choice",
    "Constant",
    "Derived",
    "Float",
    "Integer",
    "Parameter",
    "Point",
    "SearchSpace",
    "parse_space",
]

RESERVED = ("conditions", "constraints")  # keys beside the parameters
# Two points nearer than this in every continuous coordinate are the same proposal.
_SAME = 6  # decimals
_COUNTED = 200_000  # values tried in counting configurations; takes a second


@dataclass(frozen=True)
class SearchSpace:
    """Named parameters, and what ties them together.

    Args:
        parameters: name -> parameter; at least one.
        conditions: name -> expression over other parameters, without which the parameter has no value.
        constraints: expressions that every configuration meets, as far as their parameters are active.

    Attributes:
        dimensions: the parameters with a coordinate, in the order of the coordinates.

    Raises:
        InputError: no parameter, an expression that cannot be used, or constraints that leave nothing.
    """

    parameters: Mapping[str, Parameter]
    conditions: Mapping[str, str] = field(default_factory=dict)
    constraints: Sequence[str] = ()
    dimensions: Mapping[str, Dimension] = field(init=False, compare=False, repr=False)
    _steps: tuple[Step, ...] = field(init=False, compare=False, repr=False)
    _known: Point = field(init=False, compare=False, repr=False)  # an allowed point

    def __post_init__(self) -> None:
        if not self.parameters:
            raise InputError([("space", "expected at least one parameter, got none")])
        problems = [(f"space.{name}", "a reserved key") for name in RESERVED if name in self.parameters]
        if problems:
            raise InputError(problems)
        varying = {
            name: parameter
            for name, parameter in sorted(self.parameters.items())
            if isinstance(parameter, Dimension) and parameter.levels != 1
        }
        object.__setattr__(self, "dimensions", varying)
        object.__setattr__(self, "conditions", {name: str(text) for name, text in self.conditions.items()})
        object.__setattr__(self, "constraints", tuple(map(str, self.constraints)))
        steps = steps_of(self.parameters, varying, self.conditions, self.constraints)
        object.__setattr__(self, "_steps", steps)
        known = (0.5,) * len(varying) if self.plain else find_feasible(steps)
        if known is None:
            raise _nothing_allowed(self.constraints)
        object.__setattr__(self, "_known", known)

    def __len__(self) -> int:
        """The number of coordinates of a point, d; 0 where nothing varies."""
        return len(self.dimensions)

    @cached_property
    def plain(self) -> bool:
        """Whether every point is allowed and every coordinate counts: no conditions, no constraints.

        A derived value that cannot be computed everywhere (a division, say) is a constraint too.
        """
        partial = any(step.expression is not None and step.expression.partial for step in self._steps)
        return not (self.conditions or self.constraints or partial)

    @cached_property
    def size(self) -> int | None:
        """How many configurations there are; None where a parameter is continuous.

        Where the space is not plain they are counted one by one, and where that takes too long this is the
        number without conditions and constraints, an upper bound.
        """
        levels = [dimension.levels for dimension in self.dimensions.values()]
        if None in levels:
            return None
        product = math.prod(level for level in levels if level)
        if self.plain:
            return product
        search = FeasiblePoints(self._steps, all_cells, _COUNTED)
        count = sum(1 for _ in search.points())
        return product if search.cut_short else count

    def problems(self, params: Mapping[str, object]) -> list[Problem]:
        """(name, what is wrong) for a configuration; empty where it belongs to the space.

        A violated constraint has no name.
        """
        problems = [
            (name, "expected a value, got none")
            for name, parameter in self.parameters.items()
            if name not in params and name not in self.conditions and not isinstance(parameter, Derived)
        ]
        for name, value in params.items():
            if name not in self.parameters:
                problems.append((name, f"unknown parameter: expected one of {', '.join(self.parameters)}"))
            elif (wrong := self.parameters[name].problem(value)) is not None:
                problems.append((name, wrong))
        # what they are to each other can be said only of values that are right by themselves
        return problems or dependency_problems(self._steps, params)  # type: ignore[arg-type]

    def contains(self, params: Mapping[str, object]) -> bool:
        """Whether a configuration has exactly the parameters that it should, with values that are allowed."""
        return not self.problems(params)

    def check(self, params: Mapping[str, object]) -> None:
        """Refuse a configuration that is not of the space.

        Raises:
            InputError: with every problem, by key path `params.<name>`.
        """
        if problems := self.problems(params):
            raise InputError([(f"params.{name}" if name else "params", text) for name, text in problems])

    def in_recipe(self, params: Params) -> dict[str, ParamValue]:
        """The parameters of a configuration that are keys of the recipe: those that are not auxiliary."""
        return {name: value for name, value in params.items() if not self.parameters[name].auxiliary}

    def allows(self, point: Sequence[float]) -> bool:
        """Whether the configuration at a point, rounded or not, meets every constraint."""
        return self.plain or is_feasible(self._steps, point)

    def allowed(self, points: Sequence[Sequence[float]]) -> list[bool]:
        """Whether each of n points (n x d) is allowed, see `allows`."""
        return [True] * len(points) if self.plain else [is_feasible(self._steps, point) for point in points]

    def near(self, point: Sequence[float]) -> Point:
        """The rounded point itself where it is allowed, else an allowed rounded point near it."""
        if self.allows(point):
            return self.round(point)
        return self.round(feasible_near(self._steps, point, self._known))

    def to_unit(self, params: Params) -> Point:
        """The rounded point of a configuration of the space (see `check`), in [0, 1]^d."""
        return tuple(
            dimension.to_unit(params[name]) if name in params else middle(dimension)
            for name, dimension in self.dimensions.items()
        )

    def from_unit(self, point: Sequence[float]) -> dict[str, ParamValue]:
        """The configuration at a point; every active parameter is there, in the order of the space.

        Args:
            point: d coordinates; one outside [0, 1] counts as the nearer end.
        """
        if len(point) != len(self):
            raise ValueError(f"expected {len(self)} coordinates, got {len(point)}")
        values, _ = decode(self._steps, point)
        return {name: values[name] for name in self.parameters if name in values}

    def round(self, point: Sequence[float]) -> Point:
        """The point with every coordinate in the middle of its cell; continuous ones stay where they are.

        Inactive parameters get their fixed coordinate.
        """
        rounded = tuple(
            min(max(float(unit), 0.0), 1.0) if each.levels is None else each.grid.unit(each.grid.index(unit))
            for each, unit in zip(self.dimensions.values(), point, strict=True)
        )
        if not self.conditions:
            return rounded
        values, _ = decode(self._steps, point)
        return tuple(
            unit if name in values else middle(dimension)
            for (name, dimension), unit in zip(self.dimensions.items(), rounded, strict=True)
        )

    def key(self, point: Sequence[float]) -> Point:
        """What two points share if they are the same proposal."""
        return tuple(round(unit, _SAME) for unit in self.round(point))

    def configurations(self) -> Iterator[Point]:
        """Every allowed rounded point of a finite space, once; none where `size` is None.

        In a plain space the last dimension changes fastest.
        """
        if self.size is None:
            return
        if not self.plain:
            yield from FeasiblePoints(self._steps, all_cells).points()
            return
        counts = [dimension.levels or 1 for dimension in self.dimensions.values()]
        for number in range(self.size):
            yield self._numbered(number, counts)

    def combinations(self, axes: Sequence[Sequence[float]], tries: float = math.inf) -> Iterator[Point]:
        """Every allowed point, once, whose active coordinates are among those given for its dimensions.

        Args:
            axes: one sequence of coordinates a dimension.
            tries: values to try before giving up.
        """
        yield from FeasiblePoints(self._steps, lambda place, _: axes[place], tries).points()

    def _numbered(self, number: int, counts: Sequence[int]) -> Point:
        indices: list[int] = []
        for count in reversed(counts):
            number, index = divmod(number, count)
            indices.append(index)
        grids = [dimension.grid for dimension in self.dimensions.values()]
        return tuple(grid.unit(index) for grid, index in zip(grids, reversed(indices), strict=True))

    @cached_property
    def usual(self) -> Point | None:
        """An allowed point near the usual values, the middle of other parameters; None if none has one."""
        if all(dimension.usual is None for dimension in self.dimensions.values()):
            return None
        point = [
            0.5 if dimension.usual is None else dimension.to_unit(dimension.usual)
            for dimension in self.dimensions.values()
        ]
        return self.near(point)

    def describe(self, *, beliefs: bool = True) -> dict[str, Any]:
        """The space as JSON values: name -> description, which `parse_space` reads.

        Args:
            beliefs: whether usual values are described, which say where to look and not what may be tried.
        """
        left_out = () if beliefs else ("usual", "belief")
        described: dict[str, Any] = {
            name: {key: value for key, value in parameter.describe().items() if key not in left_out}
            for name, parameter in self.parameters.items()
        }
        if self.conditions:
            described["conditions"] = dict(self.conditions)
        if self.constraints:
            described["constraints"] = list(self.constraints)
        return described

    def identity(self) -> str:
        """A hash of the description without beliefs; the order of the parameters does not matter."""
        text = json.dumps(self.describe(beliefs=False), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _nothing_allowed(constraints: Sequence[str]) -> InputError:
    tried = " and ".join(map(repr, constraints)) or "the derived parameters"
    return InputError(
        [("space.constraints", f"found no configuration that {tried} would allow")],
        hint="an equality between numbers is better written as a derived parameter: derive(expression)",
    )


def parse_space(space: Mapping[str, object] | SearchSpace) -> SearchSpace:
    """Read a search space.

    Args:
        space: name -> a parameter, an expression of Hydra's sweep grammar, its `describe()` form, or a plain
            number or truth value (a constant). A mapping of names is a branch: its parameters have dotted
            names, which is what Hydra makes of `space.trainer.args.warmup_steps=...`. Two keys are no
            parameters: `conditions`, name -> expression, and `constraints`, a list of expressions.

    Raises:
        InputError: with every problem of every parameter, by key path `space.<name>`.
    """
    if isinstance(space, SearchSpace):
        return space
    named = {name: value for name, value in space.items() if name not in RESERVED}
    parameters, problems = read_parameters(named)
    conditions = space.get("conditions") or {}
    if not isinstance(conditions, Mapping):
        text = f"expected a mapping of parameter to expression, got {conditions!r}"
        problems.append(("space.conditions", text))
        conditions = {}
    constraints = space.get("constraints") or []
    if isinstance(constraints, str) or not isinstance(constraints, Sequence):
        problems.append(("space.constraints", f"expected a list of expressions, got {constraints!r}"))
        constraints = []
    if problems:
        raise InputError(problems)
    return SearchSpace(parameters, dict(leaves(conditions)), constraints)  # type: ignore[arg-type]
