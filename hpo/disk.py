"""Waiting for a disk that is full or read-only for a while, where nobody may be there to try again."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# What passes by itself, or with an administrator's help; a missing permission does not.
PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
LONGEST_S = 600.0
PAUSE_S = 2.0


def insist(
    act: Callable[[], T], say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> T:
    """Do what writes to a study folder, again and again while its disk is away.

    Args:
        act: harmless when repeated.
        say: told once that it waits.
        sleep: between two tries.

    Raises:
        OSError: one that does not pass, or the last one after ten minutes.
    """
    waited_s = 0.0
    while True:
        try:
            return act()
        except OSError as error:
            if error.errno not in PASSING or waited_s >= LONGEST_S:
                raise
            if not waited_s:
                where = error.filename or "the study folder"
                say(f"cannot write {where}: {error.strerror}; trying for {LONGEST_S / 60:.0f} minutes")
        sleep(PAUSE_S)
        waited_s += PAUSE_S
