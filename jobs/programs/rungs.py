"""What an external program measures on its way: JSON lines of a share of its length and of metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hpo.records import Metric
from jobs.attempt.console import complain
from jobs.attempt.rungs import SLACK, RungLog, extrapolated
from jobs.programs.metrics import metric_of
from jobs.programs.progress import LineFollower
from jobs.recipes.command import TRAIN_SECONDS

FORM = '{"share": number above 0, at most 1, "name": number, "other": [number, standard error]}'


class ProgramRungs:
    """Takes over what a program says of itself at the rungs that it is asked for.

    A line counts for the highest rung that its share has reached, and the first line of a rung counts.

    Args:
        path: of the program's file, which is read from its beginning: what the trial has is known.
        rungs: shares that the study wants.
    """

    def __init__(self, path: Path, rungs: Sequence[float], log: RungLog) -> None:
        self.path, self._rungs, self._log = path, sorted(rungs), log
        self._lines = LineFollower(path)

    def take_over(self, seconds: float, step: int) -> None:
        """Read on.

        Args:
            seconds: that the program has worked by now, over all attempts.
            step: that it is at.
        """
        for line in self._lines.news() if self._rungs else ():
            told = _parsed(line)
            if told is None:
                complain(f"{self.path}: got {line[:200]!r}, expected {FORM}")
                continue
            share, metrics = told
            reached = [rung for rung in self._rungs if rung <= share + SLACK]
            if reached and self._log.lacks(reached[-1]):
                timed = metrics | extrapolated({TRAIN_SECONDS: Metric(seconds)}, share, [TRAIN_SECONDS])
                self._log.add(reached[-1], share, step, timed)


def _parsed(line: bytes) -> tuple[float, dict[str, Metric]] | None:
    with suppress(ValueError):
        told = json.loads(line)
        if isinstance(told, dict):
            share = metric_of(told.pop("share", None))
            metrics = {name: metric for name, value in told.items() if (metric := metric_of(value))}
            if share is not None and 0.0 < share.value <= 1.0 and metrics:
                return share.value, metrics
    return None
