"""What a fault gets to work with, and what a fault is."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.reliability.cluster import Cluster, Task
from benchmarks.reliability.disk import Disk
from benchmarks.reliability.programs import Programs
from benchmarks.reliability.study import StudyProcess
from hpo.controller.submission import study_prefix
from hpo.paths import TrialPaths
from hpo.records import Lease, RecordError
from hpo.study.state import Study, TrialState

T = TypeVar("T")


class Missed(Exception):
    """The fault found nothing to hurt, or the study ended first: it was not injected."""


@dataclass
class Scene:
    """A study on a cluster, and everything about it that can be hurt."""

    cluster: Cluster
    study: StudyProcess
    disk: Disk
    programs: Programs
    clock: Path
    scancelled: set[str] = field(default_factory=set)

    def wait(self, seconds: float) -> None:
        """Let time pass, but not beyond the study's end."""
        self.study.over.wait(seconds)

    def until(self, look: Callable[[], T | None], timeout_s: float = 300.0, every_s: float = 0.1) -> T:
        """What a look finds, as soon as it finds something.

        Args:
            look: returns None, or anything false, while there is nothing.
            timeout_s: how long to go on.
            every_s: between two looks.

        Raises:
            Missed: nothing came of it.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not self.study.over.is_set():
            found = look()
            if found:
                return found
            time.sleep(every_s)
        raise Missed

    @property
    def prefix(self) -> str:
        """Of the names of the study's arrays.

        Raises:
            Missed: the study is not there yet.
        """
        study = self.study.study
        if study is None:
            raise Missed
        return study_prefix(study)

    def trial_of(self, task: Task) -> str:
        """The trial that a task runs.

        Raises:
            Missed: the journal does not know the array yet.
        """
        trial = trial_of(self.study.study, task)
        if trial is None:
            raise Missed
        return trial

    def task(self, state: str, rng: random.Random) -> Task:
        """Any of the study's tasks in a state, as soon as there is one."""
        tasks = self.until(lambda: self.cluster.tasks(state, self.prefix))
        return rng.choice(tasks)

    def running(self, rng: random.Random) -> tuple[TrialPaths, Lease]:
        """Any trial whose process is at work now."""
        return rng.choice(self.until(self._running))

    def _running(self) -> list[tuple[TrialPaths, Lease]]:
        study, found = self.study.study, []
        for trial in study.in_state(TrialState.OPEN) if study else ():
            files = self.study.paths.trial(trial.id)
            try:
                lease = Lease.read(files.lease)
            except (OSError, RecordError):
                continue
            if not files.metrics.exists() and is_trial(lease.pid, self.study.paths.folder):
                found.append((files, lease))
        return found


def trial_of(study: Study | None, task: Task) -> str | None:
    """The trial that a task runs; None where the journal does not know its array yet."""
    for batch in study.batches.values() if study else ():
        if batch.job_id == task.array:
            return batch.trials[task.index]
    return None


def is_trial(pid: int, folder: Path) -> bool:
    """Whether a process is an attempt of a trial of this study."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return os.fsencode(folder) in command and b"submitit" in command


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Args:
        name: a key path such as `controller.kill`.
        title: as the table shows it.
        inject: does it and undoes it; returns a word on how, raises `Missed` where it could not.
        grace_s: what the cluster's GraceTime must be; None: no matter.
        user_signal: whether preemption must send the user's signal; None: no matter.
        accounting: whether the cluster must have accounting.
        small_disk: whether the study root must be a disk of its own.
        program: whether trials must be of `trainer=command`.
        options: further overrides of the study.
    """

    name: str
    title: str
    inject: Callable[[Scene, random.Random], str]
    grace_s: int | None = None
    user_signal: bool | None = None
    accounting: bool = False
    small_disk: bool = False
    program: bool = False
    options: tuple[str, ...] = ()
