"""The executor in memory, with tasks that run: what holds for it is shown by the executors' contract."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from memory_executor import MemoryExecutor, Scheduler

from slurm import maskwrap

SLOTS = 2
GRACE_S = 1.0
CODE = "import sys; from slurm.task import run_target; run_target(sys.argv[1], sys.argv[2:])"
Task = tuple[str, int]


class ProcessExecutor(MemoryExecutor):
    """Starts released tasks as processes when it is polled, as the local executor does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(Scheduler(), name="memory")
        self._setup: Sequence[str] = settings["setup"]
        self._submitted: dict[str, tuple[Path, str]] = {}  # job id -> folder, target
        self._processes: dict[Task, subprocess.Popen[bytes]] = {}

    def submit(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: Mapping[str, Any] | None = None,
    ) -> str:
        job_id = super().submit(name=name, folder=folder, target=target, arguments=arguments, options=options)
        self._submitted[job_id] = (Path(folder), target)
        return job_id

    def poll(self) -> Mapping[Task, Any] | None:
        for task in [task for task, process in self._processes.items() if process.poll() is not None]:
            self._forget(task)
        for task, known in self.scheduler.tasks.items():
            if known["state"] == "pending" and self._room(task[0]):
                self._processes[task] = self._started(task, known["arguments"])
                known["state"] = "running"
        return super().poll()

    def warn(self, tasks: Collection[Task]) -> None:
        for task in tasks:
            if task in self._processes:
                os.killpg(self._processes[task].pid, signal.SIGUSR2)

    def cancel(self, tasks: Collection[Task]) -> None:
        super().cancel(tasks)
        for task in tasks:
            if (process := self._processes.get(task)) is not None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                self._forget(task)

    def _room(self, job_id: str) -> bool:
        own = sum(task[0] == job_id for task in self._processes)
        submitted = self.scheduler.options[job_id].get("at_once")
        at_once = self.scheduler.throttles.get(job_id, submitted)
        return len(self._processes) < SLOTS and (at_once is None or own < at_once)

    def _started(self, task: Task, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        target = self._submitted[task[0]][1]
        python = [sys.executable, "-IS", str(maskwrap.__file__), "-c", CODE, target, *arguments]
        script = "\n".join([*self._setup, f"exec {shlex.join(python)}"])
        with self._log(task).open("wb") as log:
            return subprocess.Popen(["bash", "-c", script], stderr=log, start_new_session=True)

    def _forget(self, task: Task) -> None:
        if self._processes.pop(task).returncode:
            self.scheduler.last_log_lines[task] = self._log(task).read_text(encoding="utf-8")
        self.scheduler.tasks.pop(task, None)

    def last_log_lines(self, folder: str, task: Task) -> str | None:
        return super().last_log_lines(folder, task) or None

    def _log(self, task: Task) -> Path:
        return self._submitted[task[0]][0] / f"{task[0]}_{task[1]}.err"
