"""Lines for whoever reads the log of the task; one that cannot be written (full disk) stops nothing."""

from __future__ import annotations

import sys
from contextlib import suppress


def say(text: str) -> None:
    """Tell how the trial goes on."""
    with suppress(OSError):
        print(text, flush=True)


def complain(text: str) -> None:
    """Tell what went wrong, on the error log of the task."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
