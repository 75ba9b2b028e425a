"""One attempt of a trial, whatever the trial does: fence, lease, record, result or failure.

Loads nothing heavy: signals come any time, so the handlers must be in place before the trial's own imports.
"""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hpo.paths import StudyPaths, TrialPaths
from hpo.records import RecordError, StoppedResult, TrialResult, TrialSpec, write_json_once
from jobs.attempt.checkpoints import Checkpoints
from jobs.attempt.console import complain, say
from jobs.attempt.failures import record_failure
from jobs.attempt.fence import is_result, refusal
from jobs.attempt.lease import Ownership, take
from jobs.attempt.log import AttemptLog
from jobs.attempt.progress import ProgressLog
from jobs.attempt.retry import PATIENCE, Patience, insist, until_seen
from jobs.attempt.signals import Signals
from jobs.tracking.follower import Follower, follow

T = TypeVar("T")


@dataclass(frozen=True)
class Attempt:
    """What a trial's own part gets to work with."""

    paths: TrialPaths
    owner: Ownership
    signals: Signals
    log: AttemptLog
    patience: Patience
    follower: Follower | None = None  # who tells a tracker of it

    @property
    def trial(self) -> str:
        """Id of the trial."""
        return self.owner.lease.trial

    @property
    def number(self) -> int:
        """Of this attempt, from 1."""
        return self.owner.lease.attempt

    @property
    def checkpoints(self) -> Checkpoints:
        """Those of all attempts, to be added to by this one."""
        return Checkpoints(self.paths, self.owner, self.log)

    def progress(self) -> ProgressLog:
        """The trial's progress log, to be added to by this attempt."""
        return ProgressLog(self.paths.progress, self.number, self.follower)

    def insist(self, act: Callable[[], T], what: str) -> T:
        """Do something with files until it works; see `jobs.attempt.retry.insist`.

        Args:
            act: what to do; harmless when repeated.
        """
        return insist(act, what, self.patience, self.signals.wait)

    def abandon(self, error: Exception) -> None:
        """End this process at once, whatever its main thread is doing, with a failure as the outcome."""
        try:
            self.owner.confirm()
            record_failure(self.paths, self.trial, self.number, error)
        except OSError as unwritten:
            complain(f"failed: {error!r}; and the failure cannot be written: {unwritten}")
        self.log.end("failed")
        os._exit(1)


Work = Callable[[TrialSpec, Attempt], TrialResult | StoppedResult]


def conduct(study_folder: str, batch: str, trial: str, work: Work, patience: Patience = PATIENCE) -> int:
    """Run one attempt of a trial.

    Args:
        work: the trial's own part; its result is not committed yet when it returns.
        patience: with files that cannot be read or written.

    Returns:
        0 if there is a result or nothing to do; 1 if the attempt failed, with its failure file written.
    """
    atexit.register(gc.freeze)  # or the process looks at all that torch has made, before its GPU is free
    study = StudyPaths(Path(study_folder).resolve())
    paths = study.trial(trial)
    signals = Signals(paths.cancel, study.pause)
    signals.install()
    try:
        reason = refusal(study.batch(batch), paths, trial, patience, signals.wait)
        owner = None if reason else _own(paths, batch, trial, patience, signals)
    except OSError as error:  # no failure of the trial, which has not begun: another attempt may fare better
        complain(f"trial {trial}: cannot begin: {error}")
        return 1
    if owner is None:
        say(f"trial {trial}: nothing to do: {reason or 'a later attempt has it'}")
        return 0
    log = AttemptLog(paths, owner, signals)
    log.start()
    return _run(Attempt(paths, owner, signals, log, patience), work)


def _own(paths: TrialPaths, batch: str, trial: str, patience: Patience, signals: Signals) -> Ownership | None:
    return insist(lambda: take(paths, trial, batch), "take the lease", patience, signals.wait)


def _run(attempt: Attempt, work: Work) -> int:
    lease, paths = attempt.owner.lease, attempt.paths
    say(f"trial {lease.trial}, attempt {lease.attempt} on {lease.host} as {lease.job}")
    try:
        spec = until_seen(lambda: TrialSpec.read(paths.spec), attempt.patience, attempt.signals.wait)
        attempt = replace(attempt, follower=follow(spec, paths, complain))
        result = work(spec, attempt)
        attempt.log.ending()
        first = attempt.insist(lambda: _commit(attempt, result), "write the result")
    except Exception as error:  # the boundary of the trial: whatever it was becomes a record
        _fail(attempt, error)
        return 1
    state = "stopped" if isinstance(result, StoppedResult) else "completed"
    attempt.log.end(state)
    if attempt.follower and first:
        attempt.follower.end(result.metrics, state)
    say("done" if first else "another attempt was first with its result")
    return 0


def _commit(attempt: Attempt, result: TrialResult | StoppedResult) -> bool:
    """Write the result unless there is one; a file that is none has to be moved away by the controller."""
    attempt.owner.confirm()
    if isinstance(result, StoppedResult):
        return write_json_once(attempt.paths.stopped(attempt.number), result.to_json())
    if write_json_once(attempt.paths.metrics, result.to_json()):
        return True
    if is_result(attempt.paths, attempt.trial):
        return False
    raise RecordError(f"{attempt.paths.metrics}: expected no file, or a result of trial {attempt.trial}")


def _fail(attempt: Attempt, error: Exception) -> None:
    def write() -> None:
        attempt.owner.confirm()
        failure = record_failure(attempt.paths, attempt.trial, attempt.number, error)
        say(f"{failure.traceback}\nfailed: {failure.cause}: {failure.message}")

    attempt.log.ending()
    try:
        attempt.insist(write, "write the failure")
    except OSError as unwritten:
        complain(f"failed: {error!r}; and the failure cannot be written: {unwritten}")
    attempt.log.end("failed")
    if attempt.follower:
        attempt.follower.end({}, "failed")
