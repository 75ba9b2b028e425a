"""Whether this process is the one that is to run the trial: before it takes the lease."""

from __future__ import annotations

import os
import time

from hpo.paths import BatchPaths, TrialPaths
from hpo.records import BatchRecord, RecordError, TrialResult
from jobs.attempt.retry import Patience, Wait


def refusal(batch: BatchPaths, trial: TrialPaths, name: str, patience: Patience, wait: Wait) -> str | None:
    """Why this process must not run the trial, or None.

    Args:
        patience: how long to wait for the batch's record to name this array.
    """
    if trial.metrics.exists():
        if is_result(trial, name):
            return "the result is there already"
        return f"{trial.metrics} is no result of this trial; the controller moves it aside"
    if trial.cancel.exists():
        return "the trial is cancelled"
    if trial.stop.exists() and trial.stops():
        return "the trial has ended at a rung, as it was asked to"
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return None if array is None else _foreign(batch, array, patience, wait)


def is_result(trial: TrialPaths, name: str) -> bool:
    """Whether metrics.json is what it should be; raises OSError where that cannot be seen."""
    try:
        return TrialResult.read(trial.metrics).trial == name
    except (RecordError, TypeError, ValueError):
        return False


def _foreign(batch: BatchPaths, array: str, patience: Patience, wait: Wait) -> str | None:
    began = time.monotonic()
    while True:
        recorded = _recorded(batch)
        if recorded == array:
            return None
        # An array is let go only after its id was recorded: a record without one is an old view of the file.
        limit_s = patience.unseen_s if recorded is None else patience.differing_s
        if time.monotonic() - began >= limit_s:
            return f"this is array {array}, but the batch was submitted as {recorded}"
        wait(patience.first_s)


def _recorded(batch: BatchPaths) -> str | None:
    try:
        job_id = BatchRecord.read(batch.record).job_id
    except (OSError, RecordError):
        return None
    return None if job_id is None else str(job_id)
