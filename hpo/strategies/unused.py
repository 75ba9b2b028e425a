"""Keeps proposals allowed, and different from each other and from everything in the history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from hpo.models.history import History, Origin, Proposal
from hpo.space.space import Point, SearchSpace

# A finite space up to this size is listed when drawing points finds nothing new any more.
LISTED = 100_000
# Draws without anything new before giving up on drawing.
PATIENCE = 200
# Where fewer than this share of points are allowed, a drawn point moves to an allowed one near it; where
# there are more, those that are not allowed are passed over, which keeps the others evenly spread.
_NARROW = 0.02
_SHARE_DRAWS = 256
_REFUSED = 100_000  # draws in a row that are not allowed before giving up on drawing


def first_unused(
    history: History,
    points: Iterable[Point],
    count: int,
    origin: Origin,
    note: str = "",
    *,
    remaining: bool = True,
) -> list[Proposal]:
    """The first `count` allowed points of a sequence that nobody proposed or told.

    Args:
        history: what is known.
        points: points of the unit cube in [0, 1]^d, rounded or not; may be endless.
        count: how many are wanted.
        remaining: whether the unused configurations of a finite space follow, in their own order, where the
            sequence ends or brings nothing new for a long time.

    Returns:
        Proposals, all different; fewer than `count` where none is left.
    """
    fresh = islice(_fresh(history, points, remaining), count)
    return [Proposal(history.space.from_unit(point), origin, note) for point in fresh]


def _fresh(history: History, points: Iterable[Point], remaining: bool) -> Iterator[Point]:
    space, taken, misses = history.space, set(history.taken), 0
    # a sequence whose points are partly refused comes by everything that it gave before
    patience = PATIENCE if space.plain else PATIENCE + len(taken)
    for point in _allowed(space, points):
        if len(taken) == space.size:
            return
        key = space.key(point)
        if key not in taken:
            taken.add(key)
            misses = 0
            yield space.round(point)
        elif (misses := misses + 1) >= patience:
            break
    if remaining and space.size is not None and space.size <= LISTED:
        for point in space.configurations():
            if space.key(point) not in taken:
                taken.add(space.key(point))
                yield point


def _allowed(space: SearchSpace, points: Iterable[Point]) -> Iterator[Point]:
    """The points, those that are not allowed left out, or moved where nearly all of them are not."""
    if space.plain:
        yield from points
    elif is_narrow(space):
        yield from map(space.near, points)
    else:
        refused = 0
        for point in points:
            if space.allows(point):
                refused = 0
                yield point
            elif (refused := refused + 1) >= _REFUSED:
                return


def is_narrow(space: SearchSpace) -> bool:
    """Whether so few points are allowed that drawing them until one is would take long."""
    draws = np.random.default_rng(0).random((_SHARE_DRAWS, len(space))).tolist()
    return sum(space.allowed(draws)) < _NARROW * _SHARE_DRAWS
