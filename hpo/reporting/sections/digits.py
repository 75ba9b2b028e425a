"""Fewer digits for a page: as many as a figure of ten times its size on the screen could show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

DIGITS = 5  # significant ones of each value, and of the spread of the values beside it


def short(tree: Any) -> Any:
    """The same tree of plain JSON values with its lists of numbers rounded."""
    if isinstance(tree, dict):
        return {key: short(value) for key, value in tree.items()}
    if not isinstance(tree, list):
        return tree
    if any(isinstance(value, dict | list) for value in tree):
        return [short(value) for value in tree]
    return rounded(tree)


def rounded(values: Sequence[Any]) -> list[Any]:
    """Numbers rounded to `DIGITS` significant digits, and to less than a thousandth of their spread.

    Args:
        values: what is no float stays as it is.
    """
    known = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if not known:
        return list(values)
    size, spread = max(map(abs, known)), max(known) - min(known)
    # values that hardly differ, such as 1000.01 and 1000.02, need more
    digits = DIGITS + (max(0, math.floor(math.log10(size / spread))) if spread else 0)
    return [_rounded(value, digits) if isinstance(value, float) else value for value in values]


def _rounded(value: float, digits: int) -> float | int:
    near = float(f"{value:.{min(digits, 17)}g}")
    return int(near) if near.is_integer() and abs(near) < 1e15 else near
