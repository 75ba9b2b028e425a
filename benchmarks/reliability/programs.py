"""Slurm's clients as the controller finds them: the real ones, unless a mark says otherwise."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

# Each takes its mark away when it acts, so that it acts once.
_SBATCH = """#!/bin/sh
if mv {marks}/kill_before {marks}/taken 2>/dev/null; then
    kill -9 $PPID
    sleep "$(cat {marks}/taken)"
    exec {real} "$@"
fi
if mv {marks}/kill_after {marks}/taken 2>/dev/null; then
    {real} "$@" >/dev/null
    kill -9 $PPID
    exit 1
fi
if mv {marks}/hang {marks}/taken 2>/dev/null; then
    kill -STOP "$(cat {marks}/taken)"
fi
"""

_SQUEUE = """#!/bin/sh
if [ -e {marks}/squeue_hangs ]; then
    sleep 4
fi
if [ -e {marks}/squeue_hangs ] || [ -e {marks}/squeue_fails ]; then
    echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2
    exit 1
fi
"""

_LAST = """
if [ -e {marks}/noisy ]; then
    echo '*** Welcome to our cluster | 2026 | 0 | RUNNING | we wish | you | well ***'
    echo 'Mind the quota: 42 nodes are up' >&2
    {real} "$@"
    code=$?
    echo '| thank | you | for | asking |'
    exit $code
fi
exec {real} "$@"
"""
_FIRST = {"sbatch": _SBATCH, "squeue": _SQUEUE}
_CLIENTS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")


class Programs:
    """A folder for the front of PATH.

    Args:
        folder: of the programs; made.
    """

    def __init__(self, folder: Path) -> None:
        self._marks = folder / "marks"
        self._marks.mkdir(parents=True)
        self.path = folder
        for name in _CLIENTS:
            text, real = _FIRST.get(name, "#!/bin/sh\n") + _LAST, shutil.which(name)
            program = folder / name
            program.write_text(text.format(marks=shlex.quote(str(self._marks)), real=real))
            program.chmod(0o755)

    @property
    def search_path(self) -> str:
        """What PATH is to be."""
        return os.pathsep.join([str(self.path), os.environ["PATH"]])

    def mark(self, name: str, text: str = "") -> None:
        """From now on act otherwise.

        Args:
            name: kill_before, kill_after (of sbatch: the controller dies), hang; squeue_fails, squeue_hangs;
                noisy (every client).
            text: kill_before: seconds until sbatch goes on; hang: the process to stop.
        """
        made = self._marks / f".{name}"
        made.write_text(text)
        made.rename(self._marks / name)

    def unmark(self, name: str) -> bool:
        """Act as ever; returns whether the mark was still there."""
        try:
            (self._marks / name).unlink()
        except FileNotFoundError:
            return False
        return True
