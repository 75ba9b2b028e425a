"""Reads the values that an optimizer is told. Standard library only."""

from __future__ import annotations

import math

from hpo.errors import InputError
from hpo.records import Metric

Value = float | tuple[float, float | None] | Metric  # a value, or with its standard error (None: not known)


def read_value(told: Value) -> tuple[float, float]:
    """A value and its standard error, NaN where it is not known.

    Raises:
        InputError: a value that is not finite, or a standard error that is not, or is below 0.
    """
    if isinstance(told, Metric):
        value, error = told.value, told.standard_error
    elif isinstance(told, tuple | list):
        if len(told) != 2:
            raise InputError(f"expected a value or (value, standard error), got {told!r}")
        value, error = told
    else:
        value, error = told, None
    if not _finite(value):
        raise InputError(f"expected a finite number, got {value!r}")
    if error is not None and not (_finite(error) and error >= 0):
        raise InputError(f"expected a standard error of 0 or above, got {error!r}")
    return float(value), math.nan if error is None else float(error)


def _finite(number: object) -> bool:
    try:
        return not isinstance(number, bool | str) and math.isfinite(number)  # type: ignore[arg-type]
    except TypeError:
        return False
