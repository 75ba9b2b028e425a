"""Ask the accounting about every execution of tasks that squeue has forgotten."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from slurm.client.squeue import task_ending
from slurm.view import Ending, Task, TaskEnding

# The name is last because only it could hold the separator.
FIELDS = ("JobID", "State", "Submit", "ElapsedRaw", "AllocTRES", "NodeList", "ExitCode", "JobName")

# Executions that have not ended, or are of a job in flight.
_LIVE = {"PENDING", "RUNNING", "SUSPENDED", "RESIZING", "COMPLETING", "CONFIGURING"}


@dataclass(frozen=True)
class _Row:
    job_id: str
    indices: str  # one number, or a list of ranges for elements that never started
    state: str
    submitted: str
    name: str
    ending: Ending


def query(tasks: Collection[Task]) -> list[str]:
    """The command for every execution of these tasks.

    Whole arrays are asked for: sacct 22.05 takes no ranges of indices (`1_[0-9]` is a "Bad job array
    element"), a thousand single ones make a long command line, and elements that were cancelled before they
    started are only told of as part of their array.
    """
    arrays = ",".join(sorted({job_id for job_id, _ in tasks}))
    # -D: the executions before the last one too; -X: no steps.
    return ["sacct", "-X", "-D", "-P", "-n", "-j", arrays, f"--format={','.join(FIELDS)}"]


def read_endings(text: str, tasks: Collection[Task]) -> dict[Task, list[Ending]]:
    """Read the answer to `query`.

    Args:
        text: what sacct printed.
        tasks: whose executions are wanted.

    Returns:
        The ended executions of each task, oldest first; a task of which nothing is told is left out.
    """
    rows = [row for line in text.splitlines() if (row := _row(line)) is not None]
    latest = {row.job_id: row.name for row in sorted(rows, key=lambda row: row.submitted)}
    found: dict[Task, list[Ending]] = {}
    never_started: dict[Task, Ending] = {}
    for row in sorted(rows, key=lambda row: row.submitted):
        # Job ids start again when a site loses its state; our arrays' names never do.
        if row.name != latest[row.job_id] or row.state in _LIVE:
            continue
        if row.indices.isdigit():
            found.setdefault((row.job_id, int(row.indices)), []).append(row.ending)
        elif row.ending["ending"] == TaskEnding.CANCELLED:
            never_started.update(((row.job_id, index), row.ending) for index in _expand(row.indices))
    # The line of those that never started may be out of date: what has a line of its own goes by that.
    for task, ending in never_started.items():
        found.setdefault(task, [ending])
    wanted = set(tasks)
    return {task: endings for task, endings in found.items() if task in wanted}


def _row(line: str) -> _Row | None:
    fields = line.split("|", len(FIELDS) - 1)
    match = re.fullmatch(r"(\d+)_(?:(\d+)|\[([^\]]*)\])", fields[0])
    if match is None or len(fields) < len(FIELDS):
        return None  # also what a site's wrapper prints beside the table
    _, state, submitted, seconds, resources, node, ended, name = fields
    word = state.split(" ")[0]
    # A task that asks to be requeued after the warning shows REQUEUED: preempted, or about to time out.
    ending = TaskEnding.PREEMPTED if word == "REQUEUED" else task_ending(word)
    told: Ending = {
        "ending": ending.value,
        "node": "" if node == "None assigned" else node,
        "seconds": float(seconds) if seconds.isdigit() else 0.0,
        "gpus": _gpus(resources),
        "exit": ended,
    }
    return _Row(match[1], match[2] or match[3], word, submitted, name, told)


def _gpus(resources: str) -> int:
    # `cpu=1,gres/gpu=2,gres/gpu:v100=2,mem=50M`: a site that counts each kind may leave the sum out.
    counts = dict(re.findall(r"gres/gpu(:[^=,]+)?=(\d+)", resources))
    return int(counts[""]) if "" in counts else sum(map(int, counts.values()))


def _expand(indices: str) -> Iterator[int]:
    for part in indices.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            yield from range(int(first), int(last or first) + 1)
