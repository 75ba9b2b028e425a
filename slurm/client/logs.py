"""What a task complains of: the last lines of its error log, without what Slurm's clients say of an end."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

LINES = 12
CHARACTERS = 2000
_TAIL_BYTES = 16_384

# Slurm's word that it ended the execution: what was written before it is of an execution that was well.
_CANCELLED = re.compile(r"slurmstepd\S*: error: \*\*\* .*CANCELLED AT .*\*\*\*")
_NOISE = (
    "srun: got SIGCONT",
    "srun: forcing job termination",
    "srun: Job step aborted",
    "srun: Force Terminated",
    # Slurm could not start the step, as while slurmctld is away: nothing that the task can be blamed for.
    "srun: Job step creation temporarily disabled",
    "srun: error: Unable to create step",
    "srun: error: Unable to confirm allocation",
)


def last_log_lines(logs: Sequence[Path]) -> str | None:
    """The last lines of the newest of these logs that has something to say.

    Args:
        logs: the newest first; those that are not there are passed over.

    Returns:
        The lines; None where nothing was written, "" where it was only what Slurm's clients say of an end.
    """
    texts = [text for log in logs if (text := _tail(log))]
    told = [lines for text in texts if (lines := last_lines(text))]
    return told[0] if told else "" if texts else None


def last_lines(text: str) -> str:
    """The last few lines that say what went wrong, of a log that all executions of a task append to."""
    told: list[str] = []
    for line in text.splitlines():
        if _CANCELLED.match(line):
            told.clear()
        elif line.strip() and not line.startswith(_NOISE) and not _ended_by_slurm(line):
            told.append(line.rstrip())
    return "\n".join(told[-LINES:])[-CHARACTERS:]


def _ended_by_slurm(line: str) -> bool:
    return line.startswith("srun: error: ") and line.endswith(": Terminated")


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
