"""Tasks of simulated arrays, and what a simulated execution of one must be able to tell."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slurm.view import TaskEnding, TaskState


class Execution(Protocol):
    """One execution of a task, which writes what the true one would write.

    All times are seconds from its beginning.
    """

    def next(self) -> float:
        """When it does something of its own next."""

    def act(self) -> TaskEnding | str | None:
        """Do it; how the task ended, if that was its end."""

    def asked(self) -> bool:
        """Whether it is to end before that, as files say; cheap."""

    def stop(self, age: float) -> None:
        """End, because it was asked to."""

    def interrupt(self, age: float, *, warned: bool) -> None:
        """It is killed; if it was warned, it has saved first."""


class Begin(Protocol):
    """What stands beside a target `module:function` as `module:simulated_function`."""

    def __call__(self, *arguments: str, at: float, node: str, job: str, restart: int) -> Execution | None:
        """Begin an execution; None where there is nothing to do."""


@dataclass
class SimulatedArray:
    """One array; its waiting tasks are in the order in which they may start."""

    job_id: str
    name: str
    folder: str
    target: str
    arguments: Sequence[Sequence[str]]
    at_once: int | None
    exclude: frozenset[str]
    limit_s: float
    held: bool = True
    released: bool = False  # ever
    running: int = 0
    tasks: list[SimulatedTask] = field(default_factory=list)
    ready: deque[SimulatedTask] = field(default_factory=deque)

    @property
    def may_start(self) -> bool:
        """Whether one of its tasks may start now, given a GPU."""
        below = self.at_once is None or self.running < self.at_once
        return bool(self.ready) and not self.held and below


@dataclass
class SimulatedTask:
    """One element."""

    array: SimulatedArray
    index: int
    state: TaskState = TaskState.PENDING
    ending: TaskEnding | None = None
    node: str = ""
    restart: int = 0
    begun_at: float = 0.0
    over_at: float = 0.0
    turn: int = 0  # what was planned for an earlier turn does not happen
    execution: Execution | None = None
    stopping: bool = False  # it has seen that it is asked to end

    @property
    def job(self) -> str:
        """As Slurm names it."""
        return f"{self.array.job_id}_{self.index}"
