"""The simulated cluster: what happens when, on nodes of so many GPUs, all of it from one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial

from slurm.simulation.settings import SiteSettings
from slurm.simulation.tasks import Begin, SimulatedArray, SimulatedTask
from slurm.task import resolve
from slurm.view import TaskEnding, TaskState

SHOWN_S = 300.0  # how long a task that is over is shown, as by Slurm's MinJobAge
STOP_S = 1.0  # until an execution sees that it is asked to end
REQUEUE_S = 30.0  # until a requeued task may start again

Happening = Callable[[], None]


@dataclass
class SimulatedCluster:
    """Nodes, arrays and what is to happen.

    Args:
        site: what it is like.
        gpus: of each task.
        signal_delay_s: seconds before its time limit at which a task is warned, saves and is requeued.
        now: seconds since the epoch.
    """

    site: SiteSettings
    gpus: int
    signal_delay_s: float
    now: float
    arrays: dict[str, SimulatedArray] = field(default_factory=dict)
    _plan: list[tuple[float, int, SimulatedTask | None, int, Happening]] = field(default_factory=list)
    _counter: int = 0
    _running: dict[str, SimulatedTask] = field(default_factory=dict)
    _free: dict[str, int] = field(default_factory=dict)
    _down: set[str] = field(default_factory=set)
    _waiting: dict[str, SimulatedArray] = field(default_factory=dict)  # those with a task that may start

    def __post_init__(self) -> None:
        slots = self.site.gpus_per_node // self.gpus
        self._free = {f"node{number:03}": slots for number in range(self.site.nodes)}
        for node in self._free if self.site.node_failures_per_hour else ():
            self._plan_failure(node)

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        return self.site.nodes * (self.site.gpus_per_node // self.gpus)

    @property
    def next_at(self) -> float | None:
        """When something happens next that is still to happen."""
        while self._plan and (task := self._plan[0][2]) is not None and task.turn != self._plan[0][3]:
            heapq.heappop(self._plan)
        return self._plan[0][0] if self._plan else None

    def submit(self, array: SimulatedArray) -> None:
        """Put a held array into the queue."""
        self.arrays[array.job_id] = array
        array.tasks = [SimulatedTask(array, index) for index in range(len(array.arguments))]

    def release(self, job_id: str) -> None:
        """Let an array start, for the first time or again."""
        array = self.arrays.get(job_id)
        if array is None or not array.held:
            return
        array.held = False
        for task in () if array.released else array.tasks:
            if task.state is TaskState.PENDING:
                self._queue(task, 0.0)
        array.released = True
        self._start_waiting()

    def throttle(self, job_id: str, at_once: int | None) -> None:
        """How many tasks of an array may run at once; None: no limit."""
        if (array := self.arrays.get(job_id)) is not None:
            array.at_once = at_once
            self._start_waiting()

    def advance(self, until: float) -> None:
        """Let everything happen that happens by then."""
        for task in self._running.values():
            if not task.stopping and task.execution is not None and task.execution.asked():
                task.stopping = True
                task.turn += 1
                self._at(self.now + STOP_S, partial(self._stop, task), task)
        while (at := self.next_at) is not None and at <= until:
            _, _, _, _, happen = heapq.heappop(self._plan)
            self.now = max(self.now, at)
            happen()
        self.now = until
        self._forget()

    def cancel(self, task: SimulatedTask) -> None:
        """End a task wherever it is."""
        if task.state is TaskState.RUNNING and task.execution is not None:
            task.execution.interrupt(self.now - task.begun_at, warned=False)
        if task.state is not TaskState.OVER:
            self._end(task, TaskEnding.CANCELLED)

    def warn(self, task: SimulatedTask) -> None:
        """Have a running task save and go back into the queue."""
        if task.state is TaskState.RUNNING:
            self._requeue(task, warned=True)

    def shown(self) -> Iterator[SimulatedTask]:
        """Every task that squeue would show."""
        since = self.now - SHOWN_S
        for array in self.arrays.values():
            for task in array.tasks:
                if task.state is not TaskState.OVER or task.over_at >= since:
                    yield task

    def _at(self, at: float, happen: Happening, task: SimulatedTask | None = None) -> None:
        self._counter += 1
        turn = task.turn if task is not None else 0
        heapq.heappush(self._plan, (at, self._counter, task, turn, happen))

    def _draw(self, *what: object) -> random.Random:
        return random.Random(":".join(map(str, (self.site.simulation_seed, *what))))

    def _queue(self, task: SimulatedTask, delay_s: float) -> None:
        """Into the queue, to be ready when its wait is over."""
        task.state, task.node, task.execution = TaskState.PENDING, "", None
        task.turn += 1
        mean = self.site.queue_wait
        wait = self._draw("wait", task.job, task.restart).expovariate(1 / mean) if mean else 0.0
        if delay_s + wait:
            self._at(self.now + delay_s + wait, partial(self._ready, task), task)
        else:
            self._ready(task)

    def _ready(self, task: SimulatedTask) -> None:
        task.array.ready.append(task)
        self._waiting[task.array.job_id] = task.array
        self._start_waiting()

    def _start_waiting(self) -> None:
        for array in list(self._waiting.values()):
            while array.may_start and (node := self._node(array.exclude)):
                task = array.ready.popleft()
                if task.state is TaskState.PENDING:  # else it was cancelled meanwhile
                    self._start(task, node)
            if not array.ready:
                del self._waiting[array.job_id]

    def _node(self, exclude: Collection[str]) -> str:
        free = (node for node, slots in self._free.items() if slots and node not in self._down)
        return next((node for node in free if node not in exclude), "")

    def _start(self, task: SimulatedTask, node: str) -> None:
        task.state, task.node, task.begun_at = TaskState.RUNNING, node, self.now
        task.turn += 1
        task.stopping = False
        task.array.running += 1
        self._free[node] -= 1
        self._running[task.job] = task
        module, _, function = task.array.target.partition(":")
        begin: Begin = resolve(f"{module}:simulated_{function}")
        given = task.array.arguments[task.index]
        task.execution = begin(*given, at=self.now, node=node, job=task.job, restart=task.restart)
        if task.execution is None:
            self._end(task, TaskEnding.COMPLETED)
            return
        self._plan_act(task)
        rate = self.site.preemptions_per_gpu_hour * self.gpus / 3600
        if rate:
            after = self._draw("preempted", task.job, task.restart).expovariate(rate)
            self._at(self.now + after, partial(self._requeue, task, warned=True), task)
        warned_s = task.array.limit_s - self.signal_delay_s
        self._at(self.now + warned_s, partial(self._requeue, task, warned=True), task)

    def _plan_act(self, task: SimulatedTask) -> None:
        assert task.execution is not None, "it runs"
        self._at(task.begun_at + task.execution.next(), partial(self._act, task), task)

    def _act(self, task: SimulatedTask) -> None:
        assert task.execution is not None, "it runs"
        ending = task.execution.act()
        if ending is None:
            self._plan_act(task)
        else:
            self._end(task, TaskEnding(ending))

    def _stop(self, task: SimulatedTask) -> None:
        assert task.execution is not None, "it runs"
        task.execution.stop(self.now - task.begun_at)
        self._end(task, TaskEnding.COMPLETED)

    def _requeue(self, task: SimulatedTask, *, warned: bool) -> None:
        assert task.execution is not None, "it runs"
        task.execution.interrupt(self.now - task.begun_at, warned=warned)
        self._leave(task)
        task.restart += 1
        self._queue(task, REQUEUE_S)
        self._start_waiting()

    def _end(self, task: SimulatedTask, ending: TaskEnding) -> None:
        self._leave(task)
        task.state, task.ending, task.over_at, task.execution = TaskState.OVER, ending, self.now, None
        task.turn += 1
        self._start_waiting()

    def _leave(self, task: SimulatedTask) -> None:
        if self._running.pop(task.job, None) is not None:
            task.array.running -= 1
            self._free[task.node] += 1

    def _plan_failure(self, node: str) -> None:
        count = self._counter
        after = self._draw("failure", node, count).expovariate(self.site.node_failures_per_hour / 3600)
        self._at(self.now + after, partial(self._fail, node))

    def _fail(self, node: str) -> None:
        """A node dies with all that runs on it, and comes back."""
        self._down.add(node)
        for task in [task for task in self._running.values() if task.node == node]:
            self._requeue(task, warned=False)
        self._at(self.now + 60 * self.site.repair_minutes, partial(self._repair, node))

    def _repair(self, node: str) -> None:
        self._down.discard(node)
        self._plan_failure(node)
        self._start_waiting()

    def _forget(self) -> None:
        """Arrays of which nothing is shown any more."""
        long_ago = self.now - SHOWN_S
        for array in list(self.arrays.values()):
            if all(task.state is TaskState.OVER and task.over_at < long_ago for task in array.tasks):
                del self.arrays[array.job_id]
