"""Arrays on Slurm: submit held, release, poll with one squeue, cancel."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from slurm import squeue
from slurm.command import Outcome, run
from slurm.errors import SchedulerError
from slurm.settings import ClusterSettings
from slurm.view import Task, TaskView

# What scontrol and scancel say of a task that has ended, or that Slurm has already forgotten.
_OVER = ("invalid job id", "already completing or completed", "already finished")


class SlurmExecutor:
    """Runs each batch as one Slurm array."""

    name = "slurm"

    def __init__(self, **settings: Any) -> None:
        self.settings = ClusterSettings(**settings)

    def submit(self, *, name: str, folder: str, target: str, arguments: Sequence[Sequence[str]]) -> str:
        """Submit one held array, an element per entry of `arguments`; returns its job id.

        Args:
            name: unique name of the array; the only key to it when the job id was never recorded.
            folder: an existing folder, seen by the nodes, for scripts, pickles and logs.
            target: `module:function`, resolved on the node.
            arguments: the arguments of each element, in the order of their indices.

        Raises:
            SubmissionError: sbatch failed, or did not end; the array may exist all the same.
        """
        from slurm.submission import array_executor, submit_array  # submitit: only who submits waits for it

        return submit_array(array_executor(self.settings, name, folder), target, arguments)

    def release(self, job_id: str) -> None:
        """Let a held array start; harmless when repeated, and for an array that is over.

        Raises:
            SchedulerError: Slurm did not answer, or refused.
        """
        _require(run(["scontrol", "release", job_id]), "the array stays held until it is released")

    def poll(self) -> Mapping[Task, TaskView] | None:
        """Every live task of this user's arrays, by one squeue; None if squeue failed."""
        outcome = run(["squeue", "-h", "-r", "--me", "-t", "all", "-o", squeue.FORMAT])
        return squeue.live_tasks(outcome.stdout) if outcome.ok else None

    def find(self, prefix: str) -> Mapping[str, str] | None:
        """Live arrays whose name starts with `prefix`: job id -> name; None if squeue failed."""
        outcome = run(["squeue", "-h", "--me", "-t", "all", "-o", squeue.FORMAT])
        return squeue.live_names(outcome.stdout, prefix) if outcome.ok else None

    def cancel(self, tasks: Collection[Task]) -> None:
        """Stop tasks, wherever they are in their life; those that are over are passed over.

        Raises:
            SchedulerError: Slurm did not answer, or refused.
        """
        if tasks:
            outcome = run(["scancel", *_task_lists(tasks)])
            _require(outcome, "the tasks may still run; cancel again")

    def adopt(self, folder: str) -> None:
        """Nothing to do: Slurm itself knows the arrays that were submitted earlier."""

    def preview(self, *, name: str, folder: str, target: str, arguments: Sequence[Sequence[str]]) -> str:
        """The exact sbatch script that `submit` would hand over; submits and writes nothing.

        Args:
            name: unique name of the array.
            folder: the folder for scripts, pickles and logs; need not exist.
            target: not part of the script: it travels in a pickle beside it.
            arguments: only their number is part of the script.
        """
        from slurm.submission import array_executor

        return array_executor(self.settings, name, folder).text(len(arguments))

    def check(self) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line, level one of ok, warn, fail: what `doctor` prints."""
        from slurm.site import check_site

        return check_site(self.settings)


def _task_lists(tasks: Collection[Task]) -> list[str]:
    # One `A_[0,2,5]` an array: scancel sends one request for each of its arguments.
    indices: dict[str, list[int]] = {}
    for job_id, index in sorted(set(tasks)):
        indices.setdefault(job_id, []).append(index)
    return [f"{job_id}_[{','.join(map(str, listed))}]" for job_id, listed in indices.items()]


def _require(outcome: Outcome, hint: str) -> None:
    """Pass when the command worked, or complains of nothing but tasks that are over."""
    complaints = [line for line in outcome.stderr.lower().splitlines() if line.strip()]
    over = complaints and all(any(words in line for words in _OVER) for line in complaints)
    if not outcome.ok and not over:
        raise SchedulerError(outcome.describe(), hint)
