"""An urgent job that takes one GPU from a study, once one of its trials is well on its way."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from benchmarks.reliability.cluster import Cluster, Task
from benchmarks.reliability.scene import trial_of
from benchmarks.reliability.study import StudyProcess
from hpo.controller.submission import study_prefix
from hpo.paths import StudyPaths
from hpo.records import Cause, read_jsonl
from slurm.devcluster.files import GPUS_PER_NODE

STEPS = 3  # optimiser steps of the trial that is preempted, at least
LOOK_S = 0.3
SEEN_S = 120.0  # from the urgent job until the study knows of a preemption, the cluster's GraceTime included


class Preemption(threading.Thread):
    """Preempts one trial of a study; again where the trial ended just then, and its GPU was free.

    Args:
        cluster: that the study runs on.
        study: under way, or about to be.
    """

    def __init__(self, cluster: Cluster, study: StudyProcess) -> None:
        super().__init__(daemon=True)
        self._cluster, self._study = cluster, study

    def run(self) -> None:
        """Wait for a trial in training, then send the urgent job."""
        while not self._study.over.wait(LOOK_S):
            if self._send() and self._seen():
                return

    def _send(self) -> bool:
        study = self._study.study
        for task in self._cluster.tasks("RUNNING", study_prefix(study)) if study else ():
            trial = trial_of(study, task)
            if trial and _steps(self._study.paths, trial) >= STEPS:
                return self._take_one(task)
        return False

    def _seen(self) -> bool:
        deadline = time.monotonic() + SEEN_S
        while time.monotonic() < deadline and not self._study.over.wait(LOOK_S):
            study = self._study.study
            if study and any(end.cause is Cause.PREEMPTED for end in study.ends):
                return True
        return False

    def _take_one(self, task: Task) -> bool:
        """As many GPUs of its node as leave one too few for those that run there."""
        there = [t for t in self._cluster.tasks("RUNNING", "") if t.node == task.node]
        gpus = GPUS_PER_NODE - len(there) + 1
        asked = [f"--nodelist={task.node}", f"--gres=gpu:{gpus}", "--mem=1", "--time=1", "--output=/dev/null"]
        return self._cluster.ask("sbatch", "--partition=urgent", *asked, "--wrap=sleep 2").ok


def _steps(paths: StudyPaths, trial: str) -> int:
    lines: list[int] = []
    with suppress(OSError):
        lines = [
            line["step"] for line in read_jsonl(paths.trial(trial).progress) if line["phase"] == "training"
        ]
    return max(lines, default=0)
