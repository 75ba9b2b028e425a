"""The parameters of a search space: numbers in a range, choices, constants, derived values.

Every parameter that varies maps its values to [0, 1] and back. A parameter with finitely many values cuts
the interval into one cell a value; the value's coordinate is the middle of its cell, and every coordinate in
a cell means that value. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpo.errors import InputError
from hpo.records import ParamValue
from hpo.space.arithmetic import close
from hpo.space.beliefs import Belief, described, set_belief
from hpo.space.expressions import Expression
from hpo.space.grid import UnitGrid
from hpo.space.ranges import Float, Integer, is_number, mark, raise_all

__all__ = ["Choice", "Constant", "Derived", "Float", "Integer", "Parameter"]


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Args:
        values: the values, all different; True and 1 are different, and so are 1 and 1.0.
        ordered: whether neighbours are more alike than values further apart.
        auxiliary: whether it only serves other parameters and is no key of the recipe.
        usual: what people take where they know nothing better; None where there is no such value.
        belief: how firmly they believe in it; None for medium.

    Raises:
        InputError: no value, a value twice, or a value that is no string, number or truth value.
    """

    values: tuple[ParamValue, ...]
    ordered: bool = False
    auxiliary: bool = False
    usual: ParamValue | None = None
    belief: Belief | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        wrong = [
            f"expected strings, numbers or truth values to choose from, got {value!r}"
            for value in self.values
            if not (isinstance(value, str | bool) or is_number(value))
        ]
        if not self.values:
            wrong.append("expected at least one value to choose from, got none")
        kinds = [(type(value), value) for value in self.values] if not wrong else []
        wrong += [
            f"{value!r} is there more than once"
            for kind, value in set(kinds)
            if kinds.count((kind, value)) > 1
        ]
        raise_all(wrong or set_belief(self))

    @property
    def levels(self) -> int:
        """How many values there are."""
        return len(self.values)

    @property
    def grid(self) -> UnitGrid:
        """The positions of the values on the unit interval: cells of equal width, in the given order."""
        return UnitGrid(0, 1, self.levels, log=False)

    def level(self, index: int) -> ParamValue:
        """The value of one cell."""
        return self.values[index]

    def _position(self, value: object) -> int | None:
        for index, own in enumerate(self.values):
            if type(own) is type(value) and own == value:
                return index
        return None

    def to_unit(self, value: ParamValue) -> float:
        """The coordinate of a value in [0, 1]: the middle of its cell.

        Raises:
            InputError: the value is none of the choices.
        """
        index = self._position(value)
        if index is None:
            raise InputError(self.problem(value) or "")
        return self.grid.unit(index)

    def from_unit(self, unit: float) -> ParamValue:
        """The value at a coordinate; one outside [0, 1] counts as the nearer end."""
        return self.values[self.grid.index(unit)]

    def problem(self, value: object) -> str | None:
        """What is wrong with a value; None where it belongs to the parameter."""
        if self._position(value) is None:
            return f"expected one of {', '.join(map(repr, self.values))}, got {value!r}"
        return None

    def describe(self) -> dict[str, Any]:
        """The parameter as JSON values."""
        own = {"type": "choice", "values": list(self.values), "ordered": self.ordered}
        return own | mark(self.auxiliary) | described(self)


@dataclass(frozen=True)
class Constant:
    """One value that every trial gets; no dimension of the unit cube.

    Args:
        value: the value.
        auxiliary: whether it only serves other parameters and is no key of the recipe.

    Raises:
        InputError: a value that is no string, finite number or truth value.
    """

    value: ParamValue
    auxiliary: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.value, str | bool) or is_number(self.value)):
            raise InputError(f"expected a string, a number or a truth value, got {self.value!r}")

    @property
    def levels(self) -> int:
        """One."""
        return 1

    def level(self, index: int) -> ParamValue:
        """The value."""
        return self.value

    def problem(self, value: object) -> str | None:
        """What is wrong with a value; None where it is the constant."""
        if type(value) is not type(self.value) or value != self.value:
            return f"expected the constant {self.value!r}, got {value!r}"
        return None

    def describe(self) -> dict[str, Any]:
        """The parameter as JSON values."""
        return {"type": "constant", "value": self.value} | mark(self.auxiliary)


@dataclass(frozen=True)
class Derived:
    """A value computed from other parameters; no dimension of the unit cube.

    Args:
        expression: over the names of other parameters, see `hpo.space.expressions`. `round`, `int` and
            whole-number arithmetic give integers.
        auxiliary: whether it only serves other parameters and is no key of the recipe.

    Raises:
        InputError: a text that is no expression.
    """

    expression: str
    auxiliary: bool = False

    def __post_init__(self) -> None:
        Expression(self.expression)

    @property
    def levels(self) -> int:
        """One: it has no freedom of its own."""
        return 1

    def problem(self, value: object) -> str | None:
        """What is wrong with a value whatever the other parameters are; None where it may be right."""
        if not (isinstance(value, str | bool) or is_number(value)):
            return f"expected a string, a number or a truth value, got {value!r}"
        return None

    def difference(self, value: object, expected: ParamValue) -> str | None:
        """What is wrong with a value where the expression gives `expected`; None where it agrees.

        A number may differ by what decimal text takes away; an integer must be given as one.
        """
        if isinstance(expected, float):
            agrees = is_number(value) and close(value, expected)
        else:
            agrees = type(value) is type(expected) and value == expected
        return None if agrees else f"expected {expected!r} = {self.expression}, got {value!r}"

    def describe(self) -> dict[str, Any]:
        """The parameter as JSON values."""
        return {"type": "derived", "expression": self.expression} | mark(self.auxiliary)


Parameter = Float | Integer | Choice | Constant | Derived
