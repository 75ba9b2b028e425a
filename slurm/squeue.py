"""Read squeue's answer: which array tasks are live, and in which state."""

from __future__ import annotations

from slurm.view import Task, TaskState, TaskView, view

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


def task_state(word: str, reason: str) -> TaskState | None:
    """Map squeue's state and reason to ours.

    Args:
        word: the state, such as `PENDING`; what follows a blank is passed over.
        reason: the reason; user's and administrator's holds all have `held` in theirs.

    Returns:
        None for a task that is over.
    """
    state = _STATES.get(word.split(" ")[0])
    if state is TaskState.PENDING and "held" in reason.lower():
        return TaskState.HELD
    return state


def live_tasks(text: str) -> dict[Task, TaskView]:
    """Read the answer to `squeue -h -r -t all -o FORMAT`; jobs that are no arrays are passed over."""
    tasks: dict[Task, TaskView] = {}
    for line in text.splitlines():
        job_id, index, word, reason, node, _ = _fields(line)
        state = task_state(word, reason)
        if state is not None and index.isdigit():
            tasks[job_id, int(index)] = view(state, f"{word} {reason}", node)
    return tasks


def live_names(text: str, prefix: str) -> dict[str, str]:
    """Read the same answer, asked with or without `-r`: job id -> name of live arrays."""
    names: dict[str, str] = {}
    for line in text.splitlines():
        job_id, _, word, reason, _, name = _fields(line)
        if name.startswith(prefix) and task_state(word, reason) is not None:
            names[job_id] = name
    return names


def _fields(line: str) -> list[str]:
    fields = line.split("|", 5)
    return fields + [""] * (6 - len(fields))
