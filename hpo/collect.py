"""What became of the trials in flight: files and scheduler joined into one finding per trial.

A result file outranks every state of the scheduler; a scheduler that cannot be asked is no information.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hpo.paths import StudyPaths, TrialPaths
from hpo.ports import Task, TaskView
from hpo.records import Cause, Failure, Lease, RecordError, TrialResult
from hpo.study import Study, Trial, TrialState


@dataclass(frozen=True)
class Completed:
    """The trial has a result."""

    trial: str
    result: TrialResult


@dataclass(frozen=True)
class Ended:
    """An attempt ended without a result; `attempt` is None where none had begun."""

    trial: str
    batch: str
    attempt: int | None
    cause: Cause
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class Cancelled:
    """The trial was cancelled and is no longer live."""

    trial: str


Finding = Completed | Ended | Cancelled


@dataclass
class Collector:
    """Looks at every trial in flight.

    Args:
        paths: the study's files.
        gone_s: a task that the scheduler has not shown for so long, without a result, is over.
    """

    paths: StudyPaths
    gone_s: float
    _missing_since: dict[str, float] = field(default_factory=dict)

    def findings(self, study: Study, live: Mapping[Task, TaskView] | None, now: float) -> list[Finding]:
        """What is new of the trials in flight.

        Args:
            study: as the journal tells it.
            live: the scheduler's answer, asked for before this call; None where it gave none.
            now: seconds of a monotonic clock.
        """
        found = []
        for trial in study.in_state(TrialState.OPEN):
            finding = self._finding(study, trial, live, now)
            if finding:
                self._missing_since.pop(trial.id, None)
                found.append(finding)
        return found

    def _finding(
        self, study: Study, trial: Trial, live: Mapping[Task, TaskView] | None, now: float
    ) -> Finding | None:
        files, batch = self.paths.trial(trial.id), study.batches[trial.batch]
        written = _result(files, trial) or _failure(files, trial)
        if written:
            return written
        if batch.job_id is None:
            return Cancelled(trial.id) if files.cancel.exists() else None
        if live is None:
            return None
        if (batch.job_id, batch.trials.index(trial.id)) in live:
            self._missing_since.pop(trial.id, None)
            return None
        if files.cancel.exists():
            return Cancelled(trial.id)
        if now - self._missing_since.setdefault(trial.id, now) < self.gone_s:
            return None
        # the result may have been written between our look and the scheduler's
        return _result(files, trial) or _failure(files, trial) or _lost(files, trial)


def _result(files: TrialPaths, trial: Trial) -> Finding | None:
    if not files.metrics.exists():
        return None
    try:
        result = TrialResult.read(files.metrics)
        if result.trial != trial.id:
            raise RecordError(
                f"{files.metrics}: expected the result of trial {trial.id}, got {result.trial}'s"
            )
    except RecordError as error:
        # A commit is whole or not at all, so this is a damaged disk or somebody's hand. Out of the way with
        # it: as long as it is there, another attempt would take the trial for done.
        files.metrics.rename(files.folder / f"metrics.damaged-{uuid.uuid4().hex[:8]}.json")
        return Ended(trial.id, trial.batch, _attempt(files, trial), Cause.LOST, str(error))
    return Completed(trial.id, result)


def _failure(files: TrialPaths, trial: Trial) -> Finding | None:
    for path in files.failures():
        try:
            failure = Failure.read(path)
            cause = Cause(failure.cause)
        except (RecordError, ValueError) as error:
            failure, cause = _damaged(path, trial, str(error)), Cause.LOST
        if failure.attempt not in trial.ended_attempts:
            return Ended(trial.id, trial.batch, failure.attempt, cause, failure.message, failure.traceback)
    return None


def _damaged(path: Path, trial: Trial, message: str) -> Failure:
    return Failure(trial.id, int(path.stem.split("-")[1]), Cause.LOST, message)


def _lost(files: TrialPaths, trial: Trial) -> Finding:
    attempt = _attempt(files, trial)
    message = "its task ended without a result" if attempt else "its task ended before the trial began"
    return Ended(trial.id, trial.batch, attempt, Cause.LOST, message)


def _attempt(files: TrialPaths, trial: Trial) -> int | None:
    """The attempt that has not been journalled as ended, if one has begun."""
    try:
        lease = Lease.read(files.lease)
    except (FileNotFoundError, RecordError):
        return None
    return None if lease.attempt in trial.ended_attempts else lease.attempt
