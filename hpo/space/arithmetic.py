"""What the operations of expressions do: end soon, and never take a string for a number. Standard library."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

_MANY = 1000  # arguments
_POWER_BITS = 1024  # of an integer power: as large as a real number can be
_DIGITS = 15  # that round() may be asked for
# Numbers nearer than this are equal: what 0.1 + 0.2 or exp(log(x)) lose, and far less than any setting.
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12


class WrongType(Exception):
    """An operand is of the wrong type; the message says which."""


def close(one: float, two: float) -> bool:
    """Whether two numbers are equal, up to rounding where a real number takes part."""
    if one == two:
        return True
    real = isinstance(one, float) or isinstance(two, float)
    return real and math.isclose(one, two, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def number(value: Any) -> Any:
    """The value, if it is a number or a truth value.

    Raises:
        WrongType: a string.
    """
    if isinstance(value, str):
        raise WrongType(f"expected a number, got {value!r}")
    return value


def truth(value: Any) -> bool:
    """Whether a value is true; numbers other than 0 are.

    Raises:
        WrongType: a string.
    """
    if isinstance(value, str):
        raise WrongType(f"expected a truth value, got {value!r}")
    return bool(value)


def _power(base: Any, exponent: Any) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and base.bit_length() * abs(exponent) > _POWER_BITS:
        raise OverflowError("a power that large")
    result = base**exponent
    if isinstance(result, complex):
        raise ArithmeticError("a root of a negative number")
    return result


def equal(one: Any, two: Any) -> bool:
    """Whether two values are the same; a string equals no number."""
    if isinstance(one, str) or isinstance(two, str):
        return bool(one == two)
    return close(one, two)


def _round(value: Any, digits: Any = None) -> Any:
    if digits is not None and (not isinstance(digits, int) or abs(digits) > _DIGITS):
        raise WrongType(f"round: expected at most {_DIGITS} digits, got {digits!r}")
    return round(value, digits)


def _root(value: Any) -> float:
    if value < 0:
        raise ArithmeticError("a root of a negative number")
    return math.sqrt(value)


def _logarithm(value: Any) -> float:
    if value <= 0:
        raise ArithmeticError("a logarithm of 0 or less")
    return math.log2(value)


OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda one, two: one + two,
    ast.Sub: lambda one, two: one - two,
    ast.Mult: lambda one, two: one * two,
    ast.Div: lambda one, two: one / two,
    ast.FloorDiv: lambda one, two: one // two,
    ast.Mod: lambda one, two: one % two,
    ast.Pow: _power,
}
ORDERINGS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: lambda one, two: one < two and not close(one, two),
    ast.LtE: lambda one, two: one <= two or close(one, two),
    ast.Gt: lambda one, two: one > two and not close(one, two),
    ast.GtE: lambda one, two: one >= two or close(one, two),
}
FUNCTIONS: dict[str, tuple[Callable[..., Any], range]] = {  # and how many arguments
    "min": (min, range(2, _MANY)),
    "max": (max, range(2, _MANY)),
    "round": (_round, range(1, 3)),
    "int": (int, range(1, 2)),
    "abs": (abs, range(1, 2)),
    "log2": (_logarithm, range(1, 2)),
    "sqrt": (_root, range(1, 2)),
}
