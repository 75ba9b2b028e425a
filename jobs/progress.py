"""The trial's progress log: one line a second or a step, whichever is slower."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from hpo.records import Progress, append_jsonl, mend_torn_tail

EVERY_S = 1.0


@dataclass
class ProgressLog:
    """Appends progress lines, and says the changes of phase to whoever reads the log of the task."""

    path: Path
    attempt: int
    _written_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        mend_torn_tail(self.path)

    def phase(self, line: Progress) -> None:
        """Write a line at once.

        Args:
            line: the first one of a phase.
        """
        self._write(line)
        print(self._said(line), flush=True)

    def step(self, line: Progress) -> None:
        """Write a line unless the last one is younger than a second.

        Args:
            line: of a step within a phase.
        """
        if time.monotonic() - self._written_at >= EVERY_S:
            self._write(line)

    def _write(self, line: Progress) -> None:
        append_jsonl(self.path, line.to_json(), durable=False)
        self._written_at = time.monotonic()

    def _said(self, line: Progress) -> str:
        loss = "" if line.loss is None else f", loss {line.loss:.4f}"
        judged = "" if line.eval_loss is None else f", eval_loss {line.eval_loss:.4f}"
        return f"{line.at} {line.phase} step {line.step}/{line.steps}{loss}{judged}"
