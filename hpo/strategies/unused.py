"""Keeps proposals different from each other and from everything in the history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from hpo.history import History, Origin, Proposal
from hpo.space import Point

# A finite space up to this size is listed when drawing points finds nothing new any more.
LISTED = 100_000
# Draws without anything new before giving up on drawing.
PATIENCE = 200


def first_unused(
    history: History, points: Iterable[Point], count: int, origin: Origin, note: str = ""
) -> list[Proposal]:
    """The first `count` points of a sequence that nobody proposed or told.

    Args:
        history: what is known.
        points: points of the unit cube in [0, 1]^d, rounded or not; may be endless.
        count: how many are wanted.
        origin: of the proposals.
        note: of the proposals.

    Returns:
        Proposals, all different. Where the sequence brings nothing new for a long time, the unused
        configurations of a finite space follow in their own order; fewer than `count` where none is left.
    """
    fresh = islice(_fresh(history, points), count)
    return [Proposal(history.space.from_unit(point), origin, note) for point in fresh]


def _fresh(history: History, points: Iterable[Point]) -> Iterator[Point]:
    space, taken, misses = history.space, set(history.taken), 0
    for point in points:
        if len(taken) == space.size:
            return
        key = space.key(point)
        if key not in taken:
            taken.add(key)
            misses = 0
            yield space.round(point)
        elif (misses := misses + 1) >= PATIENCE:
            break
    if space.size is not None and space.size <= LISTED:
        for point in space.configurations():
            if space.key(point) not in taken:
                taken.add(space.key(point))
                yield point
