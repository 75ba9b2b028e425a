"""Numbers as parameters: how a range's values lie on the unit interval. Standard library only.

On a log scale the cells are equal steps of the logarithm between geometric means of neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeGuard

from hpo.errors import InputError
from hpo.records import ParamValue
from hpo.space.beliefs import Belief, described, set_belief
from hpo.space.grid import ON_GRID, UnitGrid

_RELATIVE = 1e-12  # of an end: rounding of exp(log(x))


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a finite number; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def raise_all(problems: Sequence[str]) -> None:
    """Refuse with all problems at once, where there are any."""
    if problems:
        raise InputError([("", text) for text in problems])


def mark(auxiliary: bool) -> dict[str, bool]:
    """What a description says of `auxiliary`: nothing where it is not, as in studies of earlier versions."""
    return {"auxiliary": True} if auxiliary else {}


def _range_problems(low: object, high: object, *, log: bool, step: object) -> list[str]:
    wrong = [
        f"{name}: expected a finite number, got {value!r}"
        for name, value in (("low", low), ("high", high), ("step", step))
        if value is not None and not is_number(value)
    ]
    if wrong or not isinstance(low, int | float) or not isinstance(high, int | float):
        return wrong or [f"expected low and high, got {low!r} and {high!r}"]
    if low > high:
        wrong.append(f"low must not be above high, got low {low:g} and high {high:g}")
    elif low == high:
        wrong.append(f"low and high are both {low:g}: write the value itself for a constant")
    if log and low <= 0:
        wrong.append(f"a log scale needs low > 0, got low {low:g}")
    if isinstance(step, int | float) and step <= 0:
        wrong.append(f"step must be above 0, got {step:g}")
    return wrong


@dataclass(frozen=True)
class Float:
    """A real number in [low, high].

    Args:
        low: the lowest value.
        high: the highest value, included (the last value of the grid where there is a step).
        log: whether equal factors, not equal distances, are equally far apart.
        step: only `low`, `low + step`, ... are allowed; None for every number.
        auxiliary: whether it only serves other parameters and is no key of the recipe.
        usual: what people take where they know nothing better; None where there is no such value.
        belief: how firmly they believe in it; None for medium.

    Raises:
        InputError: ends that are not finite or not in order, a log scale from 0 or below, a step of 0.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    auxiliary: bool = False
    usual: float | None = None
    belief: Belief | None = None

    def __post_init__(self) -> None:
        raise_all(_range_problems(self.low, self.high, log=self.log, step=self.step))
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        raise_all(set_belief(self))

    @property
    def levels(self) -> int | None:
        """How many values there are; None for a continuum."""
        if self.step is None:
            return None
        return math.floor((self.high - self.low) / self.step + ON_GRID) + 1

    @property
    def grid(self) -> UnitGrid:
        """The values on the unit interval; only for a parameter with a step."""
        assert self.step is not None
        return UnitGrid(self.low, self.step, self.levels or 1, self.log)

    def level(self, index: int) -> float:
        """The value of one cell; in decimal arithmetic, so that 0.1 + 2 x 0.1 is 0.3."""
        return float(Decimal(str(self.low)) + index * Decimal(str(self.step)))

    def to_unit(self, value: ParamValue) -> float:
        """The coordinate of a value in [0, 1]."""
        number = float(value)
        if self.step is not None:
            return self.grid.unit(round((number - self.low) / self.step))
        if self.log:
            unit = math.log(number / self.low) / math.log(self.high / self.low)
        else:
            unit = (number - self.low) / (self.high - self.low)
        return min(max(unit, 0.0), 1.0)

    def from_unit(self, unit: float) -> float:
        """The value at a coordinate; one outside [0, 1] counts as the nearer end."""
        if self.step is not None:
            return self.level(self.grid.index(unit))
        if unit <= 0 or unit >= 1:
            return self.low if unit <= 0 else self.high
        if self.log:
            value = self.low * math.exp(unit * math.log(self.high / self.low))
        else:
            value = self.low + unit * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def problem(self, value: object) -> str | None:
        """What is wrong with a value; None where it belongs to the parameter."""
        if not is_number(value):
            return f"expected a number from {self.low:g} to {self.high:g}, got {value!r}"
        slack = _RELATIVE * max(abs(self.low), abs(self.high))
        if not self.low - slack <= value <= self.high + slack:
            return f"expected a number from {self.low:g} to {self.high:g}, got {value!r}"
        if self.step is not None:
            steps = (value - self.low) / self.step
            if abs(steps - round(steps)) > 1e-6:
                return f"expected {self.low:g} plus a multiple of {self.step:g}, got {value!r}"
        return None

    def describe(self) -> dict[str, Any]:
        """The parameter as JSON values."""
        own = {"type": "float", "low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return own | mark(self.auxiliary) | described(self)


@dataclass(frozen=True)
class Integer:
    """An integer in [low, high].

    Args:
        low: the lowest value.
        high: the highest value, included where it lies on the grid.
        step: only `low`, `low + step`, ... are allowed.
        log: whether equal factors, not equal distances, are equally far apart.
        auxiliary: whether it only serves other parameters and is no key of the recipe.
        usual: what people take where they know nothing better; None where there is no such value.
        belief: how firmly they believe in it; None for medium.

    Raises:
        InputError: ends that are no integers or not in order, a log scale from 0 or below, a step below 1.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False
    auxiliary: bool = False
    usual: int | None = None
    belief: Belief | None = None

    def __post_init__(self) -> None:
        wrong = _range_problems(self.low, self.high, log=self.log, step=self.step)
        if not wrong:
            for name in ("low", "high", "step"):
                number = getattr(self, name)
                if number != int(number):
                    wrong.append(f"{name}: expected an integer, got {number!r}")
                object.__setattr__(self, name, int(number))
        raise_all(wrong or set_belief(self))

    @property
    def levels(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    @property
    def grid(self) -> UnitGrid:
        """The values on the unit interval."""
        return UnitGrid(self.low, self.step, self.levels, self.log)

    def level(self, index: int) -> int:
        """The value of one cell."""
        return self.low + index * self.step

    def to_unit(self, value: ParamValue) -> float:
        """The coordinate of a value in [0, 1]: the middle of its cell."""
        return self.grid.unit(round((float(value) - self.low) / self.step))

    def from_unit(self, unit: float) -> int:
        """The value at a coordinate; one outside [0, 1] counts as the nearer end."""
        return self.level(self.grid.index(unit))

    def problem(self, value: object) -> str | None:
        """What is wrong with a value; None where it belongs to the parameter."""
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            return f"expected an integer from {self.low} to {self.high}, got {value!r}"
        if (value - self.low) % self.step:
            return f"expected {self.low} plus a multiple of {self.step}, got {value!r}"
        return None

    def describe(self) -> dict[str, Any]:
        """The parameter as JSON values."""
        own = {"type": "integer", "low": self.low, "high": self.high, "step": self.step, "log": self.log}
        return own | mark(self.auxiliary) | described(self)
