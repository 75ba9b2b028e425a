"""The rungs of a trial: where it measures on its way, each once, and whether it is to end there."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hpo.records import (
    Metric,
    RecordError,
    RungRecord,
    StoppedResult,
    append_jsonl,
    mend_torn_tail,
    read_rungs,
    set_aside,
)
from jobs.attempt.attempt import Attempt
from jobs.attempt.console import complain, say

LOOK_S = 1.0  # between two looks for the marker
SLACK = 1e-9  # of a step: 1/3 of 24 steps are 8, whatever a float makes of it


def rung_steps(rungs: Collection[float], steps: int) -> dict[int, list[float]]:
    """The rungs by the first whole step at or after each; those that only the last step reaches are none."""
    found: dict[int, list[float]] = {}
    for rung in rungs:
        step = max(1, math.ceil(rung * steps - SLACK))
        if step < steps:
            found.setdefault(step, []).append(rung)
    return found


def extrapolated(metrics: Mapping[str, Metric], share: float, growing: Collection[str]) -> dict[str, Metric]:
    """Metrics of a share of a trial as they would be at its end, where they grow with its steps.

    Args:
        share: that was done, in (0, 1].
        growing: names of the metrics that do.
    """
    return {
        name: Metric(metric.value / share, metric.standard_error and metric.standard_error / share)
        if name in growing
        else metric
        for name, metric in metrics.items()
    }


@dataclass
class RungLog:
    """What the attempts of one trial have measured, kept by the one at work."""

    attempt: Attempt
    records: list[RungRecord] = field(init=False)
    _looked_at: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        path = self.attempt.paths.rungs
        mend_torn_tail(path)
        try:
            self.records = read_rungs(path, self.attempt.trial)
        except RecordError as error:
            complain(f"{error}; the file is set aside, and its rungs are measured anew")
            set_aside(path)
            self.records = []

    @property
    def seconds(self) -> float:
        """That measuring has taken, over all attempts."""
        return math.fsum(record.seconds for record in self.records)

    def lacks(self, rung: float) -> bool:
        """Whether a rung is still to be measured."""
        return all(record.rung != rung for record in self.records)

    def add(
        self, rung: float, share: float, step: int, metrics: Mapping[str, Metric], seconds: float = 0.0
    ) -> None:
        """Append what was measured at a rung; a disk that does not take it loses it, and no more.

        Args:
            share: that was done.
            step: likewise.
            metrics: with what grows extrapolated.
            seconds: that it took.
        """
        record = RungRecord(
            self.attempt.trial, self.attempt.number, rung, share, step, dict(metrics), seconds
        )
        self.attempt.owner.confirm()
        try:
            append_jsonl(self.attempt.paths.rungs, record.to_json())
        except OSError as error:
            complain(f"cannot write {self.attempt.paths.rungs}: {error}; going on without rung {rung:g}")
            return
        self.records.append(record)
        if self.attempt.follower:
            self.attempt.follower.rung(record)
        say(f"rung {rung:g} measured at step {step}, in {seconds:.2f} s")

    @property
    def stop_asked(self) -> bool:
        """Whether the trial is to end here; looks at the disk at most once a second."""
        now = time.monotonic()
        if not self.records or now - self._looked_at < LOOK_S:
            return False
        self._looked_at = now
        return self.attempt.paths.stop.exists()

    def result(self, step: int, details: Mapping[str, object]) -> StoppedResult:
        """What a trial has to show that ends at its last rung.

        Args:
            step: of its checkpoint.
        """
        last = self.records[-1]
        say(f"stopped at step {step}, with the result of rung {last.rung:g}")
        return StoppedResult(
            self.attempt.trial, self.attempt.number, last.rung, step, last.metrics, dict(details)
        )
