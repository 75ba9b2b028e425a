"""The clock that an executor's tasks go by: the machine's, or one that leaps to what happens next."""

from __future__ import annotations

import time
from collections.abc import Callable


class WallClock:
    """The machine's."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that nobody puts back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


LEAP_S = 60.0  # at most beyond a sleep: whoever sleeps may wait for the time itself


class VirtualClock:
    """One that passes when somebody sleeps, and then as far as something happens.

    Args:
        begin: seconds since the epoch.
        next_at: when something happens next; None: nothing will.
        advance: called with the time that it becomes, before it does.
    """

    def __init__(
        self, begin: float, next_at: Callable[[], float | None], advance: Callable[[float], None]
    ) -> None:
        self._now, self._next_at, self._advance = begin, next_at, advance

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """The same: nobody puts it back."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Be later at once: by that much, or where nothing happens by then, when it does."""
        until = self._now + seconds
        following = self._next_at()
        if following is not None:
            until = max(until, min(following, self._now + LEAP_S))
        self._advance(until)
        self._now = until
