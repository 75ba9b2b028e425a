"""Waiting for what other threads and processes do, and a full disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 900.0  # says when to give up, and nothing of how long a thing may take


def wait_until(happened: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Wait for something, or fail."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain"
        time.sleep(0.02)


def fill(ballast: Path) -> None:
    """Write a file until its file system takes not one byte more."""
    with ballast.open("wb", buffering=0) as stream:
        for size in (4096, 256, 1):
            with suppress(OSError):
                while True:
                    stream.write(b"x" * size)
