"""A Slurm site that is only computed: the same arrays, queue and ends, on a clock that leaps.

Trials write what they would have written, when they would have, as `module:simulated_function` beside their
target says. The cluster lives as long as this object: another process finds its arrays gone.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from slurm.clocks import VirtualClock
from slurm.errors import SubmissionError
from slurm.resources import resources
from slurm.settings import ClusterSettings
from slurm.simulation.cluster import SimulatedCluster
from slurm.simulation.settings import SiteSettings
from slurm.simulation.tasks import SimulatedArray, SimulatedTask
from slurm.view import ArrayOptions, Ending, ExecutorTraits, Room, SiteLimits, Task, TaskState, TaskView, view

ARRAY_SIZE = 1001  # Slurm's MaxArraySize unless a site sets another: indices are below it
_OF_THE_SITE = {entry.name for entry in fields(SiteSettings)}
_SHARED = {entry.name for entry in fields(ClusterSettings)}


class SimulatedExecutor:
    """Runs arrays on a simulated cluster.

    Args:
        begin: where its clock begins, seconds since the epoch; None: now.

    Raises:
        ValueError: each trial wants more GPUs than a node has.
    """

    name = "simulated"
    traits: ClassVar[ExecutorTraits] = {
        "runs_as": "tasks of a simulated cluster",
        "poll_s": 10.0,
        "backs_off": True,
        "gone_s": 30.0,
        "keeps_max_parallel": True,
        "follows": False,
    }
    unanswered = ""  # it always answers

    def __init__(self, begin: float | None = None, **settings: Any) -> None:
        site = SiteSettings(**{name: value for name, value in settings.items() if name in _OF_THE_SITE})
        shared = {
            name: value for name, value in settings.items() if name in _SHARED or name not in _OF_THE_SITE
        }
        self.settings = ClusterSettings(**shared)
        gpus = self.settings.gpus or 1
        if gpus > site.gpus_per_node:
            raise ValueError(f"trainer.gpus: got {gpus}, expected at most cluster.gpus_per_node")
        now = time.time() if begin is None else begin
        self.cluster = SimulatedCluster(site, gpus, self.settings.signal_delay_s, now)
        self.clock = VirtualClock(now, lambda: self.cluster.next_at, self.cluster.advance)
        self._submitted = 0

    def silence(self) -> str:
        """Nothing: it always answers."""
        return ""

    def limits(self) -> SiteLimits:
        """Of the simulated site."""
        return {
            "array_size": ARRAY_SIZE,
            "nodes": self.cluster.site.nodes,
            "minutes": 0,
            "default_minutes": self.settings.default_minutes,
            "warning_s": self.settings.signal_delay_s,
        }

    def room(self) -> Room:
        """All of its GPUs; some tasks wait, so that none of these is free for long."""
        slots = self.cluster.slots
        most = min(slots, self.settings.max_parallel or slots)
        why = f"{self.cluster.site.nodes} simulated nodes of {self.cluster.site.gpus_per_node} GPUs"
        return {"at_once": most, "waiting": max(1, most // 4), "submitted": None, "why": why}

    def submit(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: ArrayOptions | None = None,
    ) -> str:
        """Put one held array into the simulated queue.

        Raises:
            SubmissionError: there is no element, or more than an array may have.
        """
        if not 0 < len(arguments) <= ARRAY_SIZE:
            raise SubmissionError(f"arguments: expected 1 to {ARRAY_SIZE} elements, got {len(arguments)}")
        options = options or {}
        self._submitted += 1
        limit_min = resources(self.settings, options).time_limit_min
        array = SimulatedArray(
            job_id=str(self._submitted),
            name=name,
            folder=folder,
            target=target,
            arguments=[list(each) for each in arguments],
            at_once=options.get("at_once"),
            exclude=frozenset(options.get("exclude", ())),
            limit_s=60.0 * limit_min,
        )
        self.cluster.submit(array)
        return array.job_id

    def follow(
        self, *, name: str, folder: str, command: Sequence[str], after: Collection[str], delay_s: float = 0.0
    ) -> str:
        """Commands are not simulated.

        Raises:
            SubmissionError: always.
        """
        raise SubmissionError(f"{name}: a simulated cluster runs no commands", "use cluster=slurm, or `tune`")

    def following(self, name: str) -> Collection[str]:
        """None: see `follow`."""
        return ()

    def release(self, job_id: str) -> None:
        """Let a held array start."""
        self.cluster.release(job_id)

    def hold(self, job_id: str) -> None:
        """Keep the waiting elements of an array from starting, until it is released."""
        if (array := self.cluster.arrays.get(job_id)) is not None:
            array.held = True

    def warn(self, tasks: Collection[Task]) -> None:
        """Have running tasks save, and go back into the queue."""
        running = [task for task in self._known(tasks) if task.state is TaskState.RUNNING]
        for task in running:  # whose place may be taken by another of them
            self.cluster.warn(task)

    def throttle(self, job_id: str, at_once: int | None) -> None:
        """How many elements of an array may run at once from now on; None: no limit."""
        self.cluster.throttle(job_id, at_once)

    def adopt(self, folder: str) -> None:
        """Nothing: the arrays of another process's cluster are gone with it."""

    def poll(self) -> Mapping[Task, TaskView]:
        """Every task that is not over, or has not been for long."""
        return {(task.array.job_id, task.index): _view(task) for task in self.cluster.shown()}

    def endings(self, tasks: Collection[Task]) -> Mapping[Task, Sequence[Ending]] | None:
        """None: the simulated site keeps no accounting."""
        return None

    def last_log_lines(self, folder: str, task: Task) -> str | None:
        """Nothing blames a simulated task."""
        return ""

    def cancel(self, tasks: Collection[Task]) -> None:
        """End tasks, wherever they are in their life."""
        for task in self._known(tasks):
            self.cluster.cancel(task)

    def preview(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: ArrayOptions | None = None,
    ) -> str:
        """What would be simulated."""
        return f"# {name}: {len(arguments)} simulated tasks of {target} in {Path(folder)}\n"

    def test_submit(
        self, *, name: str, folder: str, count: int, options: ArrayOptions | None = None
    ) -> tuple[str, str, str]:
        """It takes whatever fits an array."""
        return "ok", f"{name}: the simulated cluster takes {count} tasks", ""

    def notices(self) -> Sequence[tuple[str, str, str]]:
        """Nothing."""
        return []

    def check(self) -> Sequence[tuple[str, str, str]]:
        """What `doctor` says of it."""
        return [("ok", f"a simulated cluster of {self.cluster.slots} slots needs nothing", "")]

    def _known(self, tasks: Collection[Task]) -> Iterable[SimulatedTask]:
        for job_id, index in tasks:
            if (array := self.cluster.arrays.get(job_id)) is not None and index < len(array.tasks):
                yield array.tasks[index]


def _view(task: SimulatedTask) -> TaskView:
    state = task.state
    if state is TaskState.PENDING and task.array.held:
        state = TaskState.HELD
    detail = task.ending.value.upper() if task.ending else state.value.upper()
    return view(state, detail, task.node, task.array.name, task.ending)
