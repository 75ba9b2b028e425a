"""Tasks that wait for what does not come by itself: said, and in the end not waited for any longer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hpo.ports import HELP, NEVER, Task, TaskView
from hpo.study.state import Study

TOLD_S = 600.0  # a node that is drained for a moment is nobody's business
LONGEST_S = 3 * 86_400.0  # longer than maintenance takes


@dataclass
class BlockedTasks:
    """What one controller has seen waiting for somebody's help."""

    _since: dict[str, float] = field(default_factory=dict)  # the scheduler's words -> when first seen
    _told: set[str] = field(default_factory=set)

    def news(self, study: Study, live: Mapping[Task, TaskView], now: float) -> Iterator[str]:
        """A line for each reason that somebody should look at, once.

        Args:
            study: whose tasks.
            live: the scheduler's answer.
            now: seconds since the epoch.
        """
        waiting = {view["detail"]: view.get("hint", "") for _, view in blocked(study, live, HELP)}
        self._since = {words: self._since.get(words, now) for words in waiting}
        self._told &= set(waiting)
        for words, hint in waiting.items():
            if words not in self._told and now - self._since[words] >= TOLD_S:
                self._told.add(words)
                yield f"waiting for {(now - self._since[words]) / 60:.0f} minutes: {words}; hint: {hint}"

    def hopeless(
        self, study: Study, live: Mapping[Task, TaskView], now: float
    ) -> tuple[list[Task], TaskView] | None:
        """Tasks that are not worth waiting for, and what one of them says; None where there are none.

        They are those that will never start; and, where nothing of the study runs, those that have waited for
        somebody's help for three days.
        """
        tasks = blocked(study, live, NEVER)
        if not tasks and not _at_work(study, live):
            waits = blocked(study, live, HELP)
            tasks = [(task, view) for task, view in waits if self._waited_s(view, now) >= LONGEST_S]
        return ([task for task, _ in tasks], tasks[0][1]) if tasks else None

    def _waited_s(self, view: TaskView, now: float) -> float:
        return now - self._since.get(view["detail"], now)


def blocked(study: Study, live: Mapping[Task, TaskView], way: str) -> list[tuple[Task, TaskView]]:
    """The tasks of a study's arrays that are blocked in this way."""
    ours = {batch.job_id for batch in study.open_batches if batch.job_id}
    return [(task, view) for task, view in live.items() if task[0] in ours and view.get("blocked") == way]


def _at_work(study: Study, live: Mapping[Task, TaskView]) -> bool:
    ours = {batch.job_id for batch in study.open_batches if batch.job_id}
    return any(task[0] in ours and view["state"] in ("running", "completing") for task, view in live.items())
