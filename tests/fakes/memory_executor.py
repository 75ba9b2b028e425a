"""An executor without processes: tasks live in a dictionary that stands for the scheduler's own memory.

The dictionary outlives the executor, as Slurm outlives a controller; a moment at which the controller is to
be killed is a `Killed` raised from inside a call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class Killed(BaseException):
    """The controller dies here: nothing may catch it."""


@dataclass
class Scheduler:
    """What a scheduler remembers of its arrays."""

    names: dict[str, str] = field(default_factory=dict)  # job id -> name
    tasks: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    answers: bool = True
    submissions: int = 0

    def start_all(self) -> list[tuple[str, ...]]:
        """Start every released task; returns their arguments, and takes them for ended."""
        ready = [key for key, task in self.tasks.items() if task["state"] == "pending"]
        return [tuple(self.tasks.pop(key)["arguments"]) for key in ready]


@dataclass
class MemoryExecutor:
    """The executor of one controller."""

    scheduler: Scheduler
    kill_before_submit: bool = False
    kill_after_submit: bool = False
    kill_after_release: bool = False
    refuse: str = ""
    name: str = "slurm"

    def submit(self, *, name: str, folder: str, target: str, arguments: Sequence[Sequence[str]]) -> str:
        if self.kill_before_submit:
            raise Killed
        if self.refuse:
            raise RuntimeError(self.refuse)
        self.scheduler.submissions += 1
        job_id = str(self.scheduler.submissions)
        self.scheduler.names[job_id] = name
        for index, given in enumerate(arguments):
            self.scheduler.tasks[job_id, index] = {"state": "held", "arguments": given}
        if self.kill_after_submit:
            raise Killed
        return job_id

    def release(self, job_id: str) -> None:
        for (job, _), task in self.scheduler.tasks.items():
            if job == job_id and task["state"] == "held":
                task["state"] = "pending"
        if self.kill_after_release:
            raise Killed

    def adopt(self, folder: str) -> None: ...

    def poll(self) -> Mapping[tuple[str, int], Any] | None:
        if not self.scheduler.answers:
            return None
        return {
            key: {"state": task["state"], "detail": "", "node": ""}
            for key, task in self.scheduler.tasks.items()
        }

    def find(self, prefix: str) -> Mapping[str, str] | None:
        if not self.scheduler.answers:
            return None
        live = {job for job, _ in self.scheduler.tasks}
        names = self.scheduler.names
        return {job: names[job] for job in live if names[job].startswith(prefix)}

    def cancel(self, tasks: Collection[tuple[str, int]]) -> None:
        for task in tasks:
            self.scheduler.tasks.pop(task, None)

    def preview(self, *, name: str, folder: str, target: str, arguments: Sequence[Sequence[str]]) -> str:
        return name

    def check(self) -> Sequence[tuple[str, str, str]]:
        return []
