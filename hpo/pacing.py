"""When to ask the scheduler next: often while something happens, seldom while nothing does."""

from __future__ import annotations

import random
from dataclasses import dataclass

GROWTH = 1.5
LONGEST = 6.0  # times the shortest interval
JITTER = 0.1  # of the interval: controllers that were started together do not ask together


@dataclass
class Pacer:
    """Intervals between queries.

    Args:
        shortest_s: the interval while something happens.
        backs_off: whether it grows while nothing does.
    """

    shortest_s: float
    backs_off: bool = True
    _interval_s: float = 0.0
    _next_at: float = 0.0

    def due(self, now: float) -> bool:
        """Whether to ask now.

        Args:
            now: seconds of a monotonic clock.
        """
        return now >= self._next_at

    def asked(self, now: float, *, eventful: bool) -> None:
        """Note down a query, and plan the next one.

        Args:
            now: seconds of a monotonic clock.
            eventful: whether it brought anything new; a failed query did not.
        """
        grown = max(self.shortest_s, self._interval_s * GROWTH) if self.backs_off else self.shortest_s
        self._interval_s = self.shortest_s if eventful else min(grown, LONGEST * self.shortest_s)
        spread = 1.0 + JITTER * (2.0 * random.random() - 1.0) if self.backs_off else 1.0  # no secret
        self._next_at = now + self._interval_s * spread
