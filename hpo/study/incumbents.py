"""How far a study had got after each of its results. Everything is minimised. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from hpo.pareto import Row, dominates, hypervolume


def incumbents(values: Iterable[float | None]) -> list[float]:
    """The smallest value after each; None and what is not finite pass by, NaN before the first one.

    Args:
        values: of one objective.
    """
    best, found = math.nan, []
    for value in values:
        if value is not None and math.isfinite(value):
            best = value if math.isnan(best) else min(best, value)
        found.append(best)
    return found


def volumes(
    rows: Sequence[Row | None], reference: Row, counted: Collection[int] | None = None
) -> list[float]:
    """Hypervolumes of the first rows; only the front of each moment is kept.

    Args:
        rows: n rows of m values; None adds nothing.
        reference: reference point, m values.
        counted: after how many rows each volume is taken, as each is dear where m > 2; None: after every one.

    Returns:
        As many volumes, never falling.
    """
    best: list[Row] = []
    volume, grown = 0.0, False
    wanted = None if counted is None else frozenset(counted)
    found: list[float] = []
    for count, row in enumerate(rows, start=1):
        inside = row is not None and all(x < r for x, r in zip(row, reference, strict=True))
        if row is not None and inside and not any(_covers(other, row) for other in best):
            best = [*(other for other in best if not dominates(row, other)), row]
            grown = True
        if wanted is None or count in wanted:
            volume, grown = hypervolume(best, reference) if grown else volume, False
            found.append(volume)
    return found


def _covers(other: Row, row: Row) -> bool:
    return all(x <= y for x, y in zip(other, row, strict=True))
