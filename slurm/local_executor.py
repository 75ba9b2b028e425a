"""Arrays on this machine: each element a process of its own, started through submitit's local executor."""

from __future__ import annotations

import secrets
import shlex
import subprocess
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slurm import claim, devices, local_array
from slurm.errors import SubmissionError
from slurm.launch import Launch, spawn
from slurm.local_array import Claim, LocalArray
from slurm.processes import kill_marked, terminate
from slurm.settings import ClusterSettings
from slurm.view import Task, TaskState, TaskView, view

# From TERM to KILL on cancel: time for one checkpoint, as Slurm's KillWait gives.
CANCEL_GRACE_S = 5.0

# A launch can be hit by a signal before its element is claimed; one that always fails has a cause.
LAUNCH_ATTEMPTS = 3

_SCRIPT = """#!/bin/bash
# array {name}: what each element runs; submitit adds the arguments
export OMP_NUM_THREADS={cpus} MKL_NUM_THREADS={cpus} OPENBLAS_NUM_THREADS={cpus}
export CUDA_VISIBLE_DEVICES="${{FRONTRUNNER_GPU}}"
{setup}
exec {python} "$@"
"""


@dataclass(frozen=True)
class _Start:
    """An element that is being started and has not been claimed yet."""

    process: subprocess.Popen[bytes]
    gpu: str


class LocalExecutor:
    """Runs arrays as processes; `poll` starts waiting elements as slots come free.

    Nothing is lost with this object: a new one in a new process adopts the folders of the earlier one.
    """

    name = "local"

    def __init__(self, **settings: Any) -> None:
        self.settings = ClusterSettings(**settings)
        self._arrays: dict[str, LocalArray] = {}
        self._over: set[Task] = set()
        self._starts: dict[Task, _Start] = {}
        self._ending: list[subprocess.Popen[bytes]] = []
        self._attempts: Counter[Task] = Counter()

    @cached_property
    def _gpus(self) -> tuple[str, ...]:
        return devices.visible_gpus()

    @property
    def slots(self) -> int:
        """How many elements run at once."""
        cpu_count = devices.visible_cpus()
        return devices.slots(self.settings.max_parallel, self.settings.cpus, cpu_count, len(self._gpus))

    def submit(self, *, name: str, folder: str, target: str, arguments: Sequence[Sequence[str]]) -> str:
        """Note down one held array, an element per entry of `arguments`; returns its job id.

        Args:
            name: unique name of the array.
            folder: an existing folder for its files and logs.
            target: `module:function`, imported by each element's own process.
            arguments: the arguments of each element, in the order of their indices.

        Raises:
            SubmissionError: there is no element, or the folder cannot be written.
        """
        if not arguments:
            raise SubmissionError("arguments: expected at least one element, got none")
        try:
            array = local_array.create(Path(folder), name, target, arguments, self._script(name))
        except OSError as error:
            raise SubmissionError(f"folder: cannot write to {folder}: {error}") from error
        self._arrays[array.job_id] = array
        return array.job_id

    def adopt(self, folder: str) -> None:
        """Take on the arrays that any executor has submitted to a folder; harmless when repeated."""
        for array in local_array.load(Path(folder)):
            self._arrays.setdefault(array.job_id, array)

    def release(self, job_id: str) -> None:
        """Let a held array start; harmless when repeated, and for an unknown one."""
        array = self._arrays.get(job_id)
        if array is not None and array.held:
            released = array.released()
            released.save()
            self._arrays[job_id] = released

    def poll(self) -> Mapping[Task, TaskView]:
        """Every live task of the arrays that are known; starts waiting ones where slots are free."""
        views, waiting, used = self._survey()
        self._start(waiting, used)
        return views

    def find(self, prefix: str) -> Mapping[str, str]:
        """Live arrays whose name starts with `prefix`, among the known ones: job id -> name."""
        live = {job_id for job_id, _ in self._survey()[0]}
        return {
            job_id: array.name
            for job_id, array in self._arrays.items()
            if job_id in live and array.name.startswith(prefix)
        }

    def cancel(self, tasks: Collection[Task]) -> None:
        """Stop tasks: TERM, after a short while KILL; those that have not started never will."""
        leaders: list[tuple[int, int]] = []
        marks: list[str] = []
        for job_id, index in tasks:
            array = self._arrays.get(job_id)
            if array is None or not 0 <= index < len(array.arguments):
                continue
            if not array.withhold(index, claim.CANCELLED):
                known = array.claim(index)
                if known is None or not known.live or known.elsewhere:
                    continue
                leaders.append((known.pid, known.start_ticks))
            marks.append(array.mark(index))
        terminate(leaders, CANCEL_GRACE_S)
        if marks:
            kill_marked(marks)

    def preview(self, *, name: str, folder: str, target: str, arguments: Sequence[Sequence[str]]) -> str:
        """The script that each element would run; starts and writes nothing.

        Args:
            name: unique name of the array.
            folder: the folder for its files and logs; not part of the script.
            target: not part of the script: it travels in a pickle beside it.
            arguments: not part of the script.
        """
        return self._script(name)

    def check(self) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line, level one of ok, warn, fail: what `doctor` prints."""
        lines = [("ok", f"local: {self.slots} at once, {self.settings.cpus} CPUs each", "")]
        if self._gpus:
            lines.append(("ok", f"local: GPUs {', '.join(self._gpus)}", ""))
        else:
            lines.append(("warn", "local: no GPU visible", "trials run on the CPU; nvidia-smi -L lists GPUs"))
        if self.settings.cpus > devices.visible_cpus():
            what = f"local: cluster.cpus is {self.settings.cpus}, of {devices.visible_cpus()} there are"
            lines.append(("warn", what, "lower cluster.cpus"))
        return lines

    def _script(self, name: str) -> str:
        return _SCRIPT.format(
            name=shlex.quote(name),
            cpus=self.settings.cpus,
            setup="\n".join(self.settings.setup),
            python=self.settings.masked_python,
        )

    def _survey(self) -> tuple[dict[Task, TaskView], list[Task], list[str]]:
        """(live tasks, those of them that wait for a slot, the GPU of each that has one)."""
        views: dict[Task, TaskView] = {}
        waiting: list[Task] = []
        used: list[str] = []
        ended: list[str] = []
        for task in self._unfinished():
            known = self._settle(task)
            if known is None:
                views[task] = self._waiting_view(task, waiting)
            elif known.live:
                used.append(known.gpu)
                views[task] = view(TaskState.RUNNING, f"process {known.pid}", known.host)
            else:
                self._over.add(task)
                ended.append(self._arrays[task[0]].mark(task[1]))
        if ended:
            kill_marked(ended)  # what their processes may have left behind
        used.extend(start.gpu for start in self._starts.values())
        return views, waiting, used

    def _unfinished(self) -> list[Task]:
        return [
            (job_id, index)
            for job_id, array in sorted(self._arrays.items())
            for index in range(len(array.arguments))
            if (job_id, index) not in self._over
        ]

    def _settle(self, task: Task) -> Claim | None:
        """The claim of a task, once it has one; its start is then done with."""
        array = self._arrays[task[0]]
        start = self._starts.get(task)
        ended = start is not None and start.process.poll() is not None
        known = array.claim(task[1])  # after the look at the process: what has ended claims no more
        if start is not None and (ended or known is not None):
            del self._starts[task]
            self._reap(start.process)
        if known is None and ended and self._attempts[task] >= LAUNCH_ATTEMPTS:
            array.withhold(task[1], claim.FAILED_TO_START)
            known = array.claim(task[1])
        return known

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        # A starter ends by itself soon after its element is claimed; until waited for it is a zombie.
        self._ending = [each for each in (*self._ending, process) if each.poll() is None]

    def _waiting_view(self, task: Task, waiting: list[Task]) -> TaskView:
        if self._arrays[task[0]].held:
            return view(TaskState.HELD, "not released")
        if task in self._starts:
            return view(TaskState.PENDING, "starting")
        waiting.append(task)
        return view(TaskState.PENDING, "waiting for a slot")

    def _start(self, waiting: Sequence[Task], used: list[str]) -> None:
        for task in waiting[: max(0, self.slots - len(used))]:
            gpu = devices.least_used(self._gpus, used)
            used.append(gpu)
            self._attempts[task] += 1
            self._starts[task] = _Start(spawn(self._launch(task), gpu), gpu)

    def _launch(self, task: Task) -> Launch:
        job_id, index = task
        array = self._arrays[job_id]
        return Launch(
            folder=str(array.workspace / f"{index}-{secrets.token_hex(4)}"),
            mark=array.mark(index),
            claim_file=str(array.claim_file(index)),
            start_script=str(array.start_script),
            target=array.target,
            arguments=array.arguments[index],
            time_limit_min=self.settings.time_limit_min,
            signal_delay_s=self.settings.signal_delay_s,
        )
