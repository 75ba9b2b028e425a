"""The trial's progress log: one line a second or a step, whichever is slower."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from hpo.records import Progress, append_jsonl, mend_torn_tail
from jobs.attempt.console import complain, say
from jobs.tracking.follower import Follower

EVERY_S = 1.0


class Silence:
    """In place of the log, in a process that is not the trial's first."""

    def phase(self, line: Progress) -> None:
        """Nothing."""

    def step(self, line: Progress) -> None:
        """Nothing."""


@dataclass
class ProgressLog:
    """Appends progress lines, and says the changes of phase to whoever reads the log of the task.

    A line that cannot be written is left out.
    """

    path: Path
    attempt: int
    follower: Follower | None = None  # told of each line that was written
    _written_at: float = field(default=float("-inf"), init=False)
    _torn: bool = field(default=True, init=False)  # perhaps, by an attempt that was killed or a full disk

    def phase(self, line: Progress) -> None:
        """Write a line at once."""
        self._write(line)
        say(self._said(line))

    def step(self, line: Progress) -> None:
        """Write a line unless the last one is younger than a second."""
        if time.monotonic() - self._written_at >= EVERY_S:
            self._write(line)

    def _write(self, line: Progress) -> None:
        self._written_at = time.monotonic()
        try:
            if self._torn:
                mend_torn_tail(self.path)
            self._torn = True
            append_jsonl(self.path, line.to_json(), durable=False)
            self._torn = False
            if self.follower:
                self.follower.line(line)
        except OSError as error:
            complain(f"cannot write {self.path}: {error}; going on without")

    def _said(self, line: Progress) -> str:
        loss = "" if line.loss is None else f", loss {line.loss:.4f}"
        judged = "" if line.eval_loss is None else f", eval_loss {line.eval_loss:.4f}"
        return f"{line.at} {line.phase} step {line.step}/{line.steps}{loss}{judged}"
