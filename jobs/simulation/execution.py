"""One execution of a trial that is only computed: its files, written at the times of a virtual clock.

What a trial measures it tells as a function of its steps; this is what becomes of it between a queue that
interrupts and a controller that stops. Nothing is flushed to the disk: no node can die here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo.paths import StudyPaths, TrialPaths
from hpo.records import (
    AttemptRecord,
    Failure,
    Lease,
    Metric,
    Record,
    RungRecord,
    StoppedResult,
    TrialResult,
    TrialSpec,
    read_rungs,
    utc,
)
from jobs.attempt.lease import newest_attempt
from jobs.attempt.rungs import rung_steps
from jobs.errors import TrialError

COMPLETED, FAILED = "completed", "failed"  # in the words of Slurm's executor


@dataclass(frozen=True)
class Course:
    """What a trial comes to if nothing happens to it.

    Args:
        seconds: of all steps together.
        start_seconds: before the first step of every attempt.
        at_rung: what it measures at a rung that it reaches with a step; what grows is extrapolated.
        at_end: its result.
        step_loss: the training loss of a step.
        learning_rate: of the first step.
        failure: the step at which this attempt fails, and how; None as its error: killed without a word.
    """

    steps: int
    seconds: float
    start_seconds: float
    checkpoint_every_s: float
    at_rung: Callable[[float, int], Mapping[str, Metric]]
    at_end: Callable[[], Mapping[str, Metric]]
    step_loss: Callable[[int], float]
    learning_rate: float | None = None
    failure: tuple[int, TrialError | None] | None = None
    details: Mapping[str, Any] | None = None

    @property
    def late_steps(self) -> int:
        """How many steps make the training loss: the last tenth, at least one."""
        return max(1, self.steps // 10)


CourseOf = Callable[[TrialSpec, int, int], Course]  # of the spec, the attempt's number, the step it begins at


def begin(
    study_folder: str,
    batch: str,
    trial: str,
    course_of: CourseOf,
    at: float,
    node: str,
    job: str,
    restart: int,
) -> SimulatedExecution | None:
    """Begin the next attempt of a trial; None where there is nothing to do.

    Args:
        at: seconds since the epoch.
    """
    paths = StudyPaths(Path(study_folder)).trial(trial)
    if paths.metrics.exists() or paths.cancel.exists() or (paths.stop.exists() and paths.stops()):
        return None
    spec, number = TrialSpec.read(paths.spec), newest_attempt(paths) + 1
    earlier = [AttemptRecord.read(paths.attempt(one)) for one in range(1, number)]
    saved = max((record.saved_step for record in earlier), default=0)
    started = utc(at)
    write(paths.lease, Lease(trial, number, batch, job, restart, node, 0, started))
    record = AttemptRecord(trial, number, batch, job, restart, node, 1, "", started, from_step=saved)
    paths.attempts.mkdir(exist_ok=True)
    write(paths.attempt(number), record)
    return SimulatedExecution(paths, spec, record, course_of(spec, number, saved))


class SimulatedExecution:
    """See `slurm.simulation.tasks.Execution`; ages are seconds from the beginning of the attempt."""

    def __init__(self, paths: TrialPaths, spec: TrialSpec, record: AttemptRecord, course: Course) -> None:
        self._paths, self._spec, self._record, self._course = paths, spec, record, course
        known = {own.rung for own in read_rungs(paths.rungs, spec.trial)} if paths.rungs.exists() else set()
        self._reached = bool(known)
        ahead = rung_steps(spec.rungs, course.steps)
        self._ahead = [
            (step, rung)
            for step in sorted(ahead)
            for rung in ahead[step]
            if rung not in known and step >= record.from_step
        ]
        self._last: RungRecord | None = None

    @property
    def _step_s(self) -> float:
        return self._course.seconds / self._course.steps

    def _age(self, step: int) -> float:
        return self._course.start_seconds + (step - self._record.from_step) * self._step_s

    def next(self) -> float:
        """The next rung, the failure, or the end."""
        return self._age(self._following)

    @property
    def _following(self) -> int:
        ends = self._course.failure[0] if self._course.failure else self._course.steps
        return min(self._ahead[0][0], ends) if self._ahead else ends

    def act(self) -> str | None:
        """Measure, fail or finish."""
        step, failure = self._following, self._course.failure
        if failure is not None and step == failure[0]:
            return self._fail(failure[1], self._age(step))
        if self._ahead and self._ahead[0][0] == step:
            self._measure(*self._ahead.pop(0))
            return None
        result = TrialResult(
            self._spec.trial,
            self._record.attempt,
            dict(self._course.at_end()),
            dict(self._course.details or {}),
        )
        self._end(self._age(step), COMPLETED)
        write(self._paths.metrics, result)
        return COMPLETED

    def asked(self) -> bool:
        """Whether a marker says so, of a trial that has reached a rung."""
        return self._reached and os.access(self._paths.stop, os.F_OK)  # asked of all at every leap

    def stop(self, age: float) -> None:
        """Leave what the last rung measured."""
        last = self._last or read_rungs(self._paths.rungs, self._spec.trial)[-1]
        step = self._done(age)
        self._record = replace(self._record, saved_step=step, saved_seconds=age)
        self._end(age, "stopped")
        result = StoppedResult(self._spec.trial, self._record.attempt, last.rung, step, last.metrics)
        write(self._paths.stopped(self._record.attempt), result)

    def interrupt(self, age: float, *, warned: bool) -> None:
        """Warned, it saves what it has; killed, it has what it saved last."""
        saved = self._course.start_seconds + self._every * math.floor(
            max(0.0, age - self._course.start_seconds) / self._every
        )
        at = age if warned else saved
        step = self._done(at)
        if step > self._record.from_step:
            self._record = replace(self._record, saved_step=step, saved_seconds=at)
        self._end(age, "", ["USR2"] if warned else [])

    @property
    def _every(self) -> float:
        return self._course.checkpoint_every_s or self._step_s

    def _done(self, age: float) -> int:
        worked = max(0.0, age - self._course.start_seconds)
        return min(self._course.steps, self._record.from_step + math.floor(worked / self._step_s))

    def _measure(self, step: int, rung: float) -> None:
        share, metrics = step / self._course.steps, dict(self._course.at_rung(rung, step))
        self._last = RungRecord(self._spec.trial, self._record.attempt, rung, share, step, metrics)
        with self._paths.rungs.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(self._last.to_json()) + "\n")
        self._reached = True

    def _fail(self, error: TrialError | None, age: float) -> str:
        self._end(age, FAILED if error is not None else "")
        if error is not None:
            number = self._record.attempt
            failure = Failure(self._spec.trial, number, error.cause.value, str(error))
            write(self._paths.failure(number), failure)
        return FAILED

    def _end(self, age: float, how: str, signals: list[str] | None = None) -> None:
        self._record = replace(self._record, seconds=round(age, 3), ended=how, signals=signals or [])
        write(self._paths.attempt(self._record.attempt), self._record)


def write(path: Path, record: Record) -> None:
    """Write a file that nobody reads at the same time."""
    path.write_text(json.dumps(record.to_json()) + "\n", encoding="utf-8")
