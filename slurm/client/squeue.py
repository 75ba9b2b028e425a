"""Read squeue's answer: which array tasks there are, in which state, and how those that are over ended."""

from __future__ import annotations

import os

from slurm.client import table
from slurm.client.command import Outcome
from slurm.client.pending_reasons import passing
from slurm.view import Task, TaskEnding, TaskState, TaskView, view

# Array id, index, state, reason, nodes, name; the name is last because only it could hold the separator.
FORMAT = "%F|%K|%T|%r|%N|%j"

# Words of squeue's %T after which the element can still run, or go on running. Every other word is an end.
_STATES = {
    "PENDING": TaskState.PENDING,
    "CONFIGURING": TaskState.PENDING,
    "REQUEUED": TaskState.PENDING,
    "REQUEUE_FED": TaskState.PENDING,
    "REQUEUE_HOLD": TaskState.HELD,
    "SPECIAL_EXIT": TaskState.HELD,
    "RESV_DEL_HOLD": TaskState.HELD,
    "RUNNING": TaskState.RUNNING,
    "SUSPENDED": TaskState.RUNNING,
    "STOPPED": TaskState.RUNNING,
    "RESIZING": TaskState.RUNNING,
    "SIGNALING": TaskState.RUNNING,
    "COMPLETING": TaskState.COMPLETING,
    "STAGE_OUT": TaskState.COMPLETING,
}

# Slurm's words for an end; those not named here (BOOT_FAIL, DEADLINE, LAUNCH_FAILED, ...) are failures.
_ENDINGS = {
    "COMPLETED": TaskEnding.COMPLETED,
    "CANCELLED": TaskEnding.CANCELLED,
    "NODE_FAIL": TaskEnding.NODE_FAILURE,
    "OUT_OF_MEMORY": TaskEnding.HOST_OUT_OF_MEMORY,
    "PREEMPTED": TaskEnding.PREEMPTED,
    "TIMEOUT": TaskEnding.TIMED_OUT,
}


def ask() -> Outcome:
    """Every job of this user, and those that are over for as long as the site's MinJobAge says.

    By the user's number: `--me` is unknown before 20.02, and numbers need no look-up of names.
    """
    command = ["squeue", "-r", "-t", "all", "-u", str(os.getuid())]
    return table.ask(command, FORMAT, heading="ARRAY_JOB_ID")


def task_state(word: str, reason: str) -> TaskState:
    """Map squeue's state and reason to ours.

    Args:
        word: the state, such as `PENDING`; what follows a blank is passed over.
        reason: the reason; user's and administrator's holds all have `held` in theirs.
    """
    state = _STATES.get(word.split(" ")[0], TaskState.OVER)
    if state is TaskState.PENDING and "held" in reason.lower():
        return TaskState.HELD
    return state


def task_ending(word: str) -> TaskEnding:
    """Map a state in which a task is over to ours; what follows a blank is passed over."""
    return _ENDINGS.get(word.split(" ")[0], TaskEnding.FAILED)


def read_tasks(text: str) -> dict[Task, TaskView]:
    """Read the answer to `ask`; jobs that are no arrays are passed over.

    An element that was requeued has one line, with the same id; should the line of an earlier execution
    still be there, the live one counts. Elements that were cancelled before they started have no line, or one
    without their index: see `slurm.client.cancelled_while_waiting`.
    """
    tasks: dict[Task, TaskView] = {}
    for line in text.splitlines():
        job_id, index, word, reason, node, name = _fields(line)
        if not index.isdigit():
            continue
        task = (job_id, int(index))
        state = task_state(word, reason)
        if state is TaskState.OVER and task in tasks:
            continue
        ending = task_ending(word) if state is TaskState.OVER else None
        way = passing(reason) if state is TaskState.PENDING else ("", "")
        tasks[task] = view(state, f"{word} {reason}", node, name, ending, way)
    return tasks


def read_arrays(text: str) -> set[str]:
    """The job ids in the same answer, also of lines without an index."""
    return {_fields(line)[0] for line in text.splitlines()}


def newest_named(text: str, name: str) -> str | None:
    """The job id of the newest array or job of this name in the same answer; None if there is none."""
    ids = (fields[0] for fields in map(_fields, text.splitlines()) if fields[5] == name)
    return max((job_id for job_id in ids if job_id.isdigit()), key=int, default=None)


def _fields(line: str) -> list[str]:
    fields = line.split("|", 5)
    return fields + [""] * (6 - len(fields))
