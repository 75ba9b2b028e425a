"""How much room a study takes on its disk, and how much is left there. Standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.5  # for sizes; on a network disk each file takes a while
ASK_S = 10.0


@dataclass(frozen=True)
class Size:
    """Bytes of a folder, at least: `whole` says whether all its files were counted."""

    bytes: int
    whole: bool

    def __str__(self) -> str:
        return bytes_text(self.bytes) if self.whole else f"at least {bytes_text(self.bytes)}"


def bytes_text(count: float) -> str:
    """A number of bytes for people."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def folder_size(folder: Path, within_s: float = LOOK_S) -> Size:
    """What the files of a folder take, as far as they can be counted in a time."""
    until, total, waiting = time.monotonic() + within_s, 0, [str(folder)]
    while waiting:
        if time.monotonic() > until:
            return Size(total, whole=False)
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    with suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
    return Size(total, whole=True)


def room(folder: Path) -> Iterator[tuple[str, int]]:
    """(what sets it, bytes left) for what is to be written into a folder: the disk, and a quota."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    yield "free on the disk", shutil.disk_usage(place).free
    disk = _answer(["df", "--output=source", str(place)]).splitlines()[-1:]
    for line in _answer(["quota", "-w", "-p"]).splitlines():
        words = line.split()
        if disk and words[:1] == disk and len(words) > 3:
            with suppress(ValueError):
                used, soft, hard = (int(word.rstrip("*")) for word in words[1:4])
                if limit := soft or hard:
                    yield "left of your quota", max(0, limit - used) * 2**10


def _answer(command: list[str]) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_S).stdout
    return ""
