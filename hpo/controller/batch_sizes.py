"""How many trials are in flight, where the site decides it: `batch.size=auto`, `batch.refill=auto`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hpo.controller.config import BatchSettings
from hpo.ports import Room

MOST = 64  # proposals that know nothing of one another's results
USUAL = 4  # where the site does not say
REFILLS = 5  # arrays while everything in flight ends once


@dataclass(frozen=True)
class BatchSizes:
    """`batch.size` and `batch.refill` as numbers, and how they came about; "" where the user gave them."""

    size: int
    refill: int
    why: str = ""


def batch_sizes(batch: BatchSettings, room: Callable[[], Room]) -> BatchSizes:
    """Put numbers for `auto`.

    As many in flight as run at once and a few that wait, so that no place is empty while more are proposed; a
    new array as soon as a fifth of them are done.

    Args:
        batch: as configured.
        room: asks the site; called only for `batch.size=auto`.
    """
    size, why = (batch.size, "") if isinstance(batch.size, int) else _size(room())
    refill = batch.refill if isinstance(batch.refill, int) else max(1, size // REFILLS)
    return BatchSizes(size, min(refill, size), why)


def _size(room: Room) -> tuple[int, str]:
    at_once = room["at_once"]
    if at_once is None:
        return USUAL, room["why"]
    most = min(MOST, room["submitted"] or MOST)
    size = max(1, min(at_once + room["waiting"], most))
    waits = f" and {size - at_once} that wait" if size > at_once else ""
    return size, f"{at_once} at once ({room['why']}){waits}"
