"""A small disk for the study root: filled, made read-only, and put right again."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slurm.client.command import run

BALLAST = "ballast"
CHUNK = 1 << 20


class Disk:
    """The file system that a study root lies on.

    Args:
        folder: where it is.
        own: whether it is a small one of its own; without, it can neither be filled nor made read-only.
    """

    def __init__(self, folder: Path, own: bool) -> None:
        self.folder, self.own = folder, own

    def fill(self) -> None:
        """Leave no byte free."""
        zeros = b"\0" * CHUNK
        with (self.folder / BALLAST).open("ab", buffering=0) as stream:
            for size in (CHUNK, 4096, 1):
                with suppress(OSError):
                    while stream.write(zeros[:size]):
                        pass

    def free(self, patience_s: float = 120.0) -> None:
        """Take away what fills it; another fault may just keep it read-only.

        Raises:
            OSError: it still was when time was up.
        """
        deadline = time.monotonic() + patience_s
        while True:
            try:
                (self.folder / BALLAST).unlink(missing_ok=True)
            except OSError as error:
                if error.errno != errno.EROFS or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Nothing new can be written by path; files that are open for writing stay so."""
        # A second mount over the first: the file system itself cannot change while logs are open on it.
        folder = str(self.folder)
        _mount("--bind", folder, folder)
        try:
            _mount("-o", "remount,bind,ro", folder)
            yield
        finally:
            run(["umount", "-l", folder])


def _mount(*options: str) -> None:
    outcome = run(["mount", *options])
    if not outcome.ok:
        raise RuntimeError(outcome.describe())


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[Disk]:
    """A disk for the time of a `with`; where nothing may be mounted, a plain folder.

    Args:
        folder: where it is to be; made.
        size_mib: how much it holds.
    """
    folder.mkdir(parents=True)
    own = (
        os.geteuid() == 0
        and run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]).ok
    )
    try:
        yield Disk(folder, own)
    finally:
        if own:
            run(["umount", "-l", str(folder)])
