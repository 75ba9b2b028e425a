"""The order in which training examples are read: a pure function, so that a resumed trial needs no state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

POOL = 16  # batches whose examples are sorted by length together


def reading_order(
    lengths: Sequence[int], batch_size: int, steps: int, seed: int, *, by_length: bool = True
) -> list[int]:
    """Places of the examples in the order of reading: shuffled epochs, examples of like length together.

    Every `POOL` batches of the shuffled stream are sorted by length, cut into batches and shuffled again:
    hardly any padding, and lengths that do not drift over the training.

    Args:
        lengths: tokens of each example; at least one.
        batch_size: examples an optimiser step.
        by_length: False: as shuffled, for rows that have no padding.

    Returns:
        `steps * batch_size` places; those of one epoch are a permutation, whatever batch they fall into.
    """
    random = Random(seed)
    stream = _stream(len(lengths), random)
    if not by_length:
        return list(islice(stream, steps * batch_size))
    order: list[int] = []
    while len(order) < steps * batch_size:
        batches = min(POOL, steps - len(order) // batch_size)
        pool = sorted((next(stream) for _ in range(batches * batch_size)), key=lambda place: lengths[place])
        groups = [pool[start : start + batch_size] for start in range(0, len(pool), batch_size)]
        random.shuffle(groups)
        order.extend(place for group in groups for place in group)
    return order


def largest_pass(lengths: Sequence[int], examples: int, *, padded: bool) -> int:
    """Tokens of the largest forward pass.

    Args:
        lengths: tokens of each example, in the order of reading.
        padded: each to the longest of its pass; False: laid end to end.
    """
    passes = (lengths[start : start + examples] for start in range(0, len(lengths), examples))
    return max(len(own) * max(own) if padded else sum(own) for own in passes)


def dealt(order: Sequence[int], batch_size: int, rank: int, ranks: int) -> list[int]:
    """One rank's share of every batch; of examples of like length each gets some, so that none waits long.

    Args:
        order: of reading, as `reading_order` gives it.
        batch_size: examples an optimiser step; the ranks divide it.
    """
    starts = range(0, len(order), batch_size)
    return [place for start in starts for place in order[start : start + batch_size][rank::ranks]]


def _stream(count: int, random: Random) -> Iterator[int]:
    while True:
        places = list(range(count))
        random.shuffle(places)
        yield from places
