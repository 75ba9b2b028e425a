"""The clock of both sides of the comparison: from the end of the first step to the end of the last one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from benchmarks.records import Record


@dataclass
class Clock:
    """Wall and CPU time, and tokens without padding, at the end of every step."""

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def step_ended(self, tokens: int) -> None:
        """Note it.

        Args:
            tokens: trained on so far.
        """
        self.walls.append(time.monotonic())
        self.cpus.append(time.process_time())
        self.tokens.append(tokens)

    def record(self) -> Record:
        """All steps but the first, which warms up."""
        tokens, seconds = self.tokens[-1] - self.tokens[0], self.walls[-1] - self.walls[0]
        return {
            "steps": len(self.walls) - 1,
            "tokens": tokens,
            "seconds": round(seconds, 3),
            "cpu_s": round(self.cpus[-1] - self.cpus[0], 3),
            "tokens_per_second": round(tokens / seconds, 2),
        }
