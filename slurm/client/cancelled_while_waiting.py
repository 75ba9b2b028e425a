"""Elements that were cancelled while they waited: Slurm forgets them without a trace, so we remember for it.

Measured on 22.05: `scancel 7_4` of a waiting element takes its line out of squeue's answer at once, whatever
MinJobAge says, and the accounting never hears of it. The array's other elements are still there, or, when all
that waited were cancelled, one line without an index. An element that has started has a line of its own for
MinJobAge after its end. So one that waited at a look less than that ago, and is not shown while its array is,
has never started and has been cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from slurm.view import Task, TaskEnding, TaskState, TaskView, view

WAITING = (TaskState.HELD.value, TaskState.PENDING.value)
REMEMBERED_S = 600.0  # how long such an element is told of, as squeue does of others that are over


@dataclass
class CancelledWhileWaiting:
    """What one process has seen waiting, and what of it was cancelled.

    Args:
        job_age_s: asks the site for its MinJobAge, in seconds; called when a waiting task has gone.
    """

    job_age_s: Callable[[], float]
    _waiting: dict[Task, TaskView] = field(default_factory=dict)
    _seen_at: float = 0.0
    _cancelled: dict[Task, tuple[float, TaskView]] = field(default_factory=dict)

    def with_cancelled(
        self, tasks: Mapping[Task, TaskView], arrays: Collection[str], now: float
    ) -> dict[Task, TaskView]:
        """A look at the queue with the elements that were cancelled while they waited.

        Args:
            tasks: that squeue shows, those that are over included.
            arrays: job ids that squeue shows in any line.
            now: seconds, of a clock that is not set.

        Returns:
            `tasks`, and what has gone as over and cancelled.
        """
        gone = [task for task in self._waiting if task not in tasks and task[0] in arrays]
        if gone and now - self._seen_at < self.job_age_s():
            for task in gone:
                over = view(
                    TaskState.OVER,
                    "CANCELLED while it waited",
                    name=self._waiting[task]["name"],
                    ending=TaskEnding.CANCELLED,
                )
                self._cancelled[task] = now, over
        self._waiting = {task: own for task, own in tasks.items() if own["state"] in WAITING}
        self._seen_at = now
        self._cancelled = {
            task: told
            for task, told in self._cancelled.items()
            if task not in tasks and now - told[0] < REMEMBERED_S
        }
        return {**tasks, **{task: own for task, (_, own) in self._cancelled.items()}}
