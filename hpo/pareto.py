"""Pareto fronts and hypervolumes of plain numbers. Standard library only, so that `status` stays quick.

Every function minimises every objective; `minimised` applies the directions. A row that holds NaN or an
infinity is dropped before anything else and is never part of a front.

References:
    [Deb2002] K. Deb, A. Pratap, S. Agarwal, T. Meyarivan. A fast and elitist multiobjective genetic
        algorithm: NSGA-II. IEEE Transactions on Evolutionary Computation 6(2), 2002.
    [While2012] L. While, L. Bradstreet, L. Barone. A fast way of calculating exact hypervolumes. IEEE
        Transactions on Evolutionary Computation 16(1), 2012.
    [Ishibuchi2011] H. Ishibuchi, N. Akedo, Y. Nojima. A many-objective test problem for visually examining
        diversity maintenance behavior in a decision space. GECCO 2011.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from hpo.objectives import Objectives

Row = Sequence[float]

REFERENCE_MARGIN = 0.1  # of the front's range beyond its worst value [Ishibuchi2011]


def minimised(metrics: Mapping[str, float], objectives: Objectives) -> tuple[float, ...]:
    """The objectives' values, in their order, with signs so that less is better.

    Args:
        metrics: name -> value in the metric's own direction; other metrics are passed over, a missing
            objective counts as NaN.
        objectives: what to optimise.
    """
    return tuple(own.minimised(metrics.get(name, math.nan)) for name, own in objectives.items())


def dominates(a: Row, b: Row) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better (minimising)."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def front(rows: Sequence[Row]) -> list[int]:
    """The positions of the non-dominated rows, in the order of the rows.

    Args:
        rows: n rows of m values to minimise; rows with NaN or infinity never belong to the front.

    Returns:
        Positions into `rows`; equal rows are all on the front or all off it. Empty for no finite row.
    """
    finite = [index for index, row in enumerate(rows) if all(map(math.isfinite, row))]
    # In lexicographic order nothing later dominates anything earlier, so one pass over the kept suffices.
    finite.sort(key=lambda index: tuple(rows[index]))
    if finite and len(rows[finite[0]]) == 2:
        return sorted(_front_of_two(rows, finite))
    kept: list[int] = []
    for index in finite:
        if not any(dominates(rows[other], rows[index]) for other in kept):
            kept.append(index)
    return sorted(kept)


def _front_of_two(rows: Sequence[Row], ordered: Sequence[int]) -> list[int]:
    kept: list[int] = []
    for index in ordered:
        if not kept or rows[index][1] < rows[kept[-1]][1] or tuple(rows[index]) == tuple(rows[kept[-1]]):
            kept.append(index)
    return kept


def layers(rows: Sequence[Row]) -> list[int]:
    """The non-dominated layer of each row: 0 for the front, 1 for the front of the rest, and so on.

    Args:
        rows: n rows of m values to minimise; those with NaN or infinity are behind all others.
    """
    found = [len(rows)] * len(rows)
    finite = [index for index, row in enumerate(rows) if all(map(math.isfinite, row))]
    if finite and len(rows[finite[0]]) <= 2:
        for index, layer in _sorted_layers(rows, finite):
            found[index] = layer
        return found
    layer = 0
    while finite:
        best = {finite[place] for place in front([rows[index] for index in finite])}
        for index in best:
            found[index] = layer
        finite, layer = [index for index in finite if index not in best], layer + 1
    return found


def _sorted_layers(rows: Sequence[Row], finite: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Of one or two objectives, in n log n: in lexicographic order only the last of a layer can dominate."""
    ends: list[float] = []  # the smallest last value of each layer, which grows from layer to layer
    before, layer = None, 0
    for index in sorted(finite, key=lambda index: tuple(rows[index])):
        row = tuple(rows[index])
        if row != before:  # equal rows do not dominate each other
            last = row[-1] if len(row) == 2 else 0.0
            layer = bisect_right(ends, last)
            ends[layer : layer + 1] = [last]
        before = row
        yield index, layer


def crowding(rows: Sequence[Row]) -> list[float]:
    """The crowding distance of each row among the others [Deb2002]; infinite at the ends of a range.

    Args:
        rows: n rows of m finite values, of one layer.
    """
    distance = [0.0] * len(rows)
    for position in range(len(rows[0]) if rows else 0):
        order = sorted(range(len(rows)), key=lambda index: rows[index][position])
        span = rows[order[-1]][position] - rows[order[0]][position]
        if not span:
            continue
        distance[order[0]] = distance[order[-1]] = math.inf
        for before, index, after in zip(order, order[1:], order[2:], strict=False):
            distance[index] += (rows[after][position] - rows[before][position]) / span
    return distance


def hypervolume(rows: Sequence[Row], reference: Row) -> float:
    """The exact volume that is dominated by the rows and dominates the reference point (minimising).

    Args:
        rows: n rows of m values; those that are not below the reference in every objective add nothing.
        reference: m values.

    Returns:
        The volume; 0 for no rows. Two objectives take a sweep, more take WFG [While2012].
    """
    inside = [tuple(row) for row in rows if all(x < r for x, r in zip(row, reference, strict=True))]
    points = sorted({inside[index] for index in front(inside)})
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - points[0][0]
    if len(reference) == 2:
        return _area(points, reference)
    return _wfg(points[::-1], reference)


def _area(points: Sequence[Row], reference: Row) -> float:
    """The area over a front of two objectives, sorted by the first one."""
    area, ceiling = 0.0, reference[1]
    for first, second in points:
        area += (reference[0] - first) * (ceiling - second)
        ceiling = second
    return area


def _wfg(points: Sequence[tuple[float, ...]], reference: Row) -> float:
    """Sum of what each point adds to those after it; `points` are a front, the worst first value first."""
    if not points:
        return 0.0
    if len(reference) == 2:
        return _area(sorted(points), reference)
    total = 0.0
    for number, point in enumerate(points):
        box = math.prod(r - x for x, r in zip(point, reference, strict=True))
        # Later points are no worse in the first objective, so limited to this point's box all share its first
        # value: the overlap is a hypervolume of one objective less.
        limited = [
            tuple(max(x, y) for x, y in zip(point[1:], other[1:], strict=True))
            for other in points[number + 1 :]
        ]
        rest = sorted({limited[index] for index in front(limited)}, reverse=True)
        total += box - (reference[0] - point[0]) * _wfg(rest, reference[1:])
    return total


def reference_point(rows: Sequence[Row], objectives: Objectives) -> tuple[float, ...]:
    """A reference point for hypervolumes of what was observed (minimising).

    The rule: a threshold where an objective has one, else the worst value on the front plus
    `REFERENCE_MARGIN` of the front's range [Ishibuchi2011]. A front that has no range in an objective takes
    the range of all rows, and where that is none too, a tenth of the value's size (or 1 at 0).

    Args:
        rows: n rows of m values to minimise.
        objectives: m objectives.

    Returns:
        m values; all of them thresholds or 1 where no row is finite.
    """
    finite = [row for row in rows if all(map(math.isfinite, row))]
    best = [finite[index] for index in front(finite)]
    point = []
    for position, objective in enumerate(objectives.values()):
        if objective.threshold is not None:
            point.append(objective.minimised(objective.threshold))
        else:
            point.append(_beyond([row[position] for row in best], [row[position] for row in finite]))
    return tuple(point)


def _beyond(best: Sequence[float], every: Sequence[float]) -> float:
    if not best:
        return 1.0
    worst = max(best)
    span = worst - min(best) or max(every) - min(every) or abs(worst) or 1.0
    return worst + REFERENCE_MARGIN * span


def incumbents(values: Iterable[float | None]) -> list[float]:
    """The smallest value after each; None and what is not finite pass by, NaN before the first one."""
    best, smallest = math.nan, []
    for value in values:
        if value is not None and math.isfinite(value):
            best = value if math.isnan(best) else min(best, value)
        smallest.append(best)
    return smallest


def hypervolumes(
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
    volumes: list[float] = []
    for count, row in enumerate(rows, start=1):
        inside = row is not None and all(x < r for x, r in zip(row, reference, strict=True))
        if row is not None and inside and not any(_covers(other, row) for other in best):
            best = [*(other for other in best if not dominates(row, other)), row]
            grown = True
        if wanted is None or count in wanted:
            volume, grown = hypervolume(best, reference) if grown else volume, False
            volumes.append(volume)
    return volumes


def _covers(other: Row, row: Row) -> bool:
    return all(x <= y for x, y in zip(other, row, strict=True))
