"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(true: Callable[[], object], within_s: float = 120.0) -> None:
    """Wait until something is so, or fail."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"waited {within_s} s in vain"
        time.sleep(0.02)
