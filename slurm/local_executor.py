"""Arrays on this machine: each element a process of its own, started through submitit's local executor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from slurm.client import logs
from slurm.clocks import WallClock
from slurm.errors import SchedulerError, SubmissionError
from slurm.local import array as local_array
from slurm.local import claim, devices
from slurm.local.array import Claim, LocalArray
from slurm.local.processes import kill_marked, terminate, warn
from slurm.local.site import check_machine, start_script
from slurm.local.starts import Starts
from slurm.resources import resources
from slurm.settings import ClusterSettings
from slurm.view import ArrayOptions, Ending, ExecutorTraits, Room, SiteLimits, Task, TaskState, TaskView, view

# From TERM to KILL on cancel: time for one checkpoint, as Slurm's KillWait gives.
CANCEL_GRACE_S = 5.0

# An array here is a file with a line an element; nothing limits it.
ARRAY_SIZE = 10**6


class LocalExecutor:
    """Runs arrays as processes; `poll` starts waiting elements as slots come free.

    Nothing is lost with this object: a new one in a new process adopts the folders of the earlier one.

    Raises:
        ValueError: each trial wants more GPUs than this machine has; on one that has none it takes CPUs.
    """

    name = "local"
    traits: ClassVar[ExecutorTraits] = {
        "runs_as": "processes of this machine",
        "poll_s": 1.0,
        "backs_off": False,
        "gone_s": 0.0,
        "keeps_max_parallel": False,  # it is how many slots there are
        "follows": False,
    }

    clock = WallClock()
    unanswered = ""  # this machine always tells of its tasks

    def __init__(self, **settings: Any) -> None:
        self.settings = ClusterSettings(**settings)
        gpus = self.settings.gpus or 1
        if gpus > 1 and 0 < len(self._gpus) < gpus:
            told = f"got {gpus}, expected at most {len(self._gpus)}, the GPUs of this machine"
            raise ValueError(f"trainer.gpus: {told}")
        self._arrays: dict[str, LocalArray] = {}
        self._over: set[Task] = set()
        self._starts = Starts(self.settings)

    @cached_property
    def _gpus(self) -> tuple[str, ...]:
        return devices.visible_gpus()

    @property
    def slots(self) -> int:
        """How many elements run at once."""
        cpu_count = devices.visible_cpus()
        wanted = self.settings
        return devices.slots(wanted.max_parallel, wanted.cpus, cpu_count, len(self._gpus), wanted.cards)

    def silence(self) -> str:
        """Nothing: there is no scheduler here that could be away."""
        return ""

    def limits(self) -> SiteLimits:
        """What this machine allows: one node, and whatever time and size of array."""
        return {
            "array_size": ARRAY_SIZE,
            "nodes": 1,
            "minutes": 0,
            "default_minutes": self.settings.default_minutes,
            "warning_s": self.settings.signal_delay_s,
        }

    def room(self) -> Room:
        """The slots; nothing needs to wait, as a free one is filled within a second."""
        why = f"slots of this machine, with {self.settings.cpus} CPUs each"
        if self.settings.max_parallel:
            why = "cluster.max_parallel"
        return {"at_once": self.slots, "waiting": 0, "submitted": None, "why": why}

    def submit(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: ArrayOptions | None = None,
    ) -> str:
        """Note down one held array; of its options the time limit and how many run at once count here.

        Raises:
            SubmissionError: there is no element, or the folder cannot be written.
        """
        if not arguments:
            raise SubmissionError("arguments: expected at least one element, got none")
        options = options or {}
        try:
            array = local_array.create(
                Path(folder),
                name,
                target,
                arguments,
                start_script(self.settings, name),
                at_once=options.get("at_once"),
                time_limit_min=resources(self.settings, options).time_limit_min,
            )
        except OSError as error:
            raise SubmissionError(f"folder: cannot write to {folder}: {error}") from error
        self._arrays[array.job_id] = array
        return array.job_id

    def follow(
        self, *, name: str, folder: str, command: Sequence[str], after: Collection[str], delay_s: float = 0.0
    ) -> str:
        """There is no scheduler here that could start a job later.

        Raises:
            SubmissionError: always.
        """
        raise SubmissionError(
            f"{name}: a local executor cannot follow an array with a job", "use cluster=slurm, or `tune`"
        )

    def following(self, name: str) -> Collection[str]:
        """None: see `follow`."""
        return ()

    def adopt(self, folder: str) -> None:
        """Take on the arrays that any executor has submitted to a folder; harmless when repeated."""
        for array in local_array.load(Path(folder)):
            self._arrays.setdefault(array.job_id, array)

    def release(self, job_id: str) -> None:
        """Let a held array start."""
        array = self._arrays.get(job_id)
        if array is not None:
            self._change(replace(array, held=False))

    def hold(self, job_id: str) -> None:
        """Keep the waiting elements of an array from starting, until it is released."""
        array = self._arrays.get(job_id)
        if array is not None:
            self._change(replace(array, held=True))

    def throttle(self, job_id: str, at_once: int | None) -> None:
        """How many elements of an array may run at once from now on; None: no limit but the slots."""
        array = self._arrays.get(job_id)
        if array is not None:
            self._change(replace(array, at_once=at_once))

    def warn(self, tasks: Collection[Task]) -> None:
        """Send USR2 to running tasks; those that do not run here are passed over."""
        warn([(known.pid, known.start_ticks) for _, known in self._claimed(tasks) if _is_here(known)])

    def poll(self) -> Mapping[Task, TaskView]:
        """Every live task of the arrays that are known; starts waiting ones where slots are free."""
        views, waiting, used = self._survey()
        self._start(waiting, views, used)
        return views

    def endings(self, tasks: Collection[Task]) -> Mapping[Task, Sequence[Ending]] | None:
        """None: there is no accounting here."""
        return None

    def last_log_lines(self, folder: str, task: Task) -> str | None:
        """The last lines of a task's error log; each launch has one of its own."""
        job_id, index = task
        found = (Path(folder) / job_id).glob(f"{index}-*/*_log.err")
        return logs.last_log_lines(sorted(found, key=lambda log: log.stat().st_mtime, reverse=True))

    def cancel(self, tasks: Collection[Task]) -> None:
        """Stop tasks: TERM, after a short while KILL; those that have not started never will."""
        leaders: list[tuple[int, int]] = []
        marks: list[str] = []
        for job_id, index in self._known(tasks):
            array = self._arrays[job_id]
            if not array.withhold(index, claim.CANCELLED):
                known = array.claim(index)
                if known is None or not _is_here(known):
                    continue
                leaders.append((known.pid, known.start_ticks))
            marks.append(array.mark(index))
        terminate(leaders, CANCEL_GRACE_S)
        if marks:
            kill_marked(marks)

    def preview(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: ArrayOptions | None = None,
    ) -> str:
        """The script that each element would run; the target travels in a pickle beside it."""
        return start_script(self.settings, name)

    def test_submit(
        self, *, name: str, folder: str, count: int, options: ArrayOptions | None = None
    ) -> tuple[str, str, str]:
        """How many elements would run at once."""
        return "ok", f"this machine runs {min(count, self.slots)} of {count} at once", ""

    def notices(self) -> Sequence[tuple[str, str, str]]:
        """Nothing: what is set for Slurm is no matter here."""
        return []

    def check(self) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line, level one of ok, warn, fail: what `doctor` prints."""
        return check_machine(self.settings, self.slots, self._gpus)

    def _change(self, array: LocalArray) -> None:
        if array != self._arrays[array.job_id]:
            try:
                array.save()
            except OSError as error:
                raise SchedulerError(f"{array.folder}: cannot be written: {error}", busy=True) from error
            self._arrays[array.job_id] = array

    def _known(self, tasks: Collection[Task]) -> list[Task]:
        return [
            (job_id, index)
            for job_id, index in tasks
            if job_id in self._arrays and 0 <= index < len(self._arrays[job_id].arguments)
        ]

    def _claimed(self, tasks: Collection[Task]) -> Iterator[tuple[Task, Claim]]:
        for job_id, index in self._known(tasks):
            known = self._arrays[job_id].claim(index)
            if known is not None:
                yield (job_id, index), known

    def _survey(self) -> tuple[dict[Task, TaskView], list[Task], list[str]]:
        """(live tasks, those of them that wait for a slot, the GPU of each that has one)."""
        views: dict[Task, TaskView] = {}
        waiting: list[Task] = []
        used: list[str] = []
        ended: list[str] = []
        for task in self._unfinished():
            array = self._arrays[task[0]]
            known = self._starts.settle(array, task[1])
            if known is None:
                views[task] = self._waiting_view(array, task, waiting)
            elif known.live:
                used.append(known.gpu)
                views[task] = view(TaskState.RUNNING, f"process {known.pid}", known.host, array.name)
            else:
                self._over.add(task)
                ended.append(array.mark(task[1]))
        if ended:
            kill_marked(ended)  # what their processes may have left behind
        used.extend(self._starts.gpus())
        return views, waiting, used

    def _unfinished(self) -> list[Task]:
        return [
            (job_id, index)
            for job_id, array in sorted(self._arrays.items())
            for index in range(len(array.arguments))
            if (job_id, index) not in self._over
        ]

    def _waiting_view(self, array: LocalArray, task: Task, waiting: list[Task]) -> TaskView:
        if task in self._starts:
            return view(TaskState.PENDING, "starting", name=array.name)
        if array.held:
            return view(TaskState.HELD, "not released", name=array.name)
        waiting.append(task)
        return view(TaskState.PENDING, "waiting for a slot", name=array.name)

    def _start(self, waiting: Sequence[Task], views: Mapping[Task, TaskView], used: list[str]) -> None:
        running = Counter(job_id for (job_id, _), told in views.items() if told["state"] == TaskState.RUNNING)
        running.update(job_id for job_id, _ in self._starts.tasks())
        for job_id, index in waiting:
            array = self._arrays[job_id]
            if len(used) >= self.slots:
                return
            if array.at_once is not None and running[job_id] >= array.at_once:
                continue
            gpu = devices.least_used(self._gpus, used, self.settings.cards)
            used.append(gpu)
            running[job_id] += 1
            self._starts.begin(array, index, gpu)


def _is_here(known: Claim) -> bool:
    return known.live and not known.elsewhere
