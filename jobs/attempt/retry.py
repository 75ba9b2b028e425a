"""How long a trial waits for its files: a shared folder may lag behind, or be full or read-only for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hpo.records import RecordError
from jobs.attempt.console import complain

T = TypeVar("T")
Wait = Callable[[float], None]


@dataclass(frozen=True)
class Patience:
    """Limits in seconds."""

    unseen_s: float = 90.0  # for a file written before this task was let go: NFS shows old views for a minute
    differing_s: float = 20.0  # for a record that names another array
    writing_s: float = 600.0  # for a result or a lease that cannot be written
    first_s: float = 1.0  # before the second try; then twice as long each time
    most_s: float = 30.0  # between two tries


PATIENCE = Patience()


def insist(act: Callable[[], T], what: str, patience: Patience, wait: Wait) -> T:
    """Do something with files again and again until it works.

    Args:
        act: what to do; harmless when repeated.
        what: it is, for the log: `write the result`.

    Raises:
        OSError: the last one, when time is up; at once where the folder itself is gone.
        RecordError: likewise.
    """
    began, pause_s = time.monotonic(), patience.first_s
    while True:
        try:
            return act()
        except (FileNotFoundError, NotADirectoryError):
            raise
        except (OSError, RecordError) as error:
            if time.monotonic() - began >= patience.writing_s:
                raise
            complain(f"cannot {what}: {error}; trying again in {pause_s:.0f} s")
        wait(pause_s)
        pause_s = min(2 * pause_s, patience.most_s)


def until_seen(look: Callable[[], T], patience: Patience, wait: Wait) -> T:
    """Read a file that is there, though this node may not see it yet.

    Raises:
        OSError: the last one, when time is up.
        RecordError: likewise.
    """
    began = time.monotonic()
    while True:
        try:
            return look()
        except (OSError, RecordError):
            if time.monotonic() - began >= patience.unseen_s:
                raise
        wait(patience.first_s)
