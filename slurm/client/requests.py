"""Requests that change the queue: whether they worked, and what clients say of tasks that are over."""

from __future__ import annotations

import re
from collections.abc import Collection

from slurm.client.command import Outcome
from slurm.client.refusals import is_busy
from slurm.errors import SchedulerError
from slurm.view import Task

# What scontrol and scancel say of a task that has ended, or that Slurm has already forgotten. Of an array of
# which a part is over they say both: `7_0: Job has already finished`, `7_1-3: No error`, and exit with 1.
_OVER = ("invalid job id", "already completing or completed", "already finished", ": no error")

# How they complain, as against what a site's wrapper or banner says beside them.
_COMPLAINT = re.compile(r"^\s*\d+(_\S+)?: |error|invalid job id")


def require(outcome: Outcome, hint: str) -> None:
    """Pass when the command worked, or complains of nothing but tasks that are over.

    Raises:
        SchedulerError: Slurm did not answer, or refused.
    """
    complaints = [line for line in outcome.stderr.lower().splitlines() if _COMPLAINT.search(line)]
    over = complaints and all(any(words in line for words in _OVER) for line in complaints)
    if not outcome.ok and not (over and outcome.exit_code is not None):
        raise SchedulerError(outcome.describe(), hint, busy=is_busy(outcome))


def task_lists(tasks: Collection[Task]) -> list[str]:
    """One `A_[0,2,5]` an array: scancel sends one request for each of its arguments."""
    indices: dict[str, list[int]] = {}
    for job_id, index in sorted(set(tasks)):
        indices.setdefault(job_id, []).append(index)
    return [f"{job_id}_[{','.join(map(str, listed))}]" for job_id, listed in indices.items()]
