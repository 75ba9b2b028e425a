"""An urgent job that takes one GPU from a study, once one of its trials is well on its way."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.reliability.cluster import Cluster
from benchmarks.reliability.scene import trial_of
from benchmarks.reliability.study import StudyProcess
from hpo.controller.submission import study_prefix
from hpo.paths import StudyPaths
from hpo.records import Cause, read_jsonl
from hpo.study.state import ENDED
from slurm.devcluster.files import GPUS_PER_NODE

STEPS = 3  # optimiser steps of the trial that is preempted, at least
LOOK_S = 0.3


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
            met = self._send()
            if met and self._seen(met):
                return

    def _send(self) -> list[str]:
        """The trials that the urgent job may meet; none where it was not sent."""
        study = self._study.study
        for task in self._cluster.tasks("RUNNING", study_prefix(study)) if study else ():
            trial = trial_of(study, task)
            if trial and _steps(self._study.paths, trial) >= STEPS:
                there = [own for own in self._cluster.tasks("RUNNING", "") if own.node == task.node]
                if self._take_one(task.node, len(there)):
                    return [trial, *filter(None, (trial_of(study, own) for own in there))]
        return []

    def _seen(self, met: Sequence[str]) -> bool:
        """Whether one of these was preempted; known once the study says so, or that all have ended."""
        while not self._study.over.wait(LOOK_S):
            study = self._study.study
            if study and any(end.cause is Cause.PREEMPTED for end in study.ends):
                return True
            if study and all(study.trials[trial].state in ENDED for trial in met):
                return False
        return False

    def _take_one(self, node: str, running: int) -> bool:
        """As many GPUs of a node as leave one too few for those that run there."""
        asked = [f"--nodelist={node}", f"--gres=gpu:{GPUS_PER_NODE - running + 1}", "--mem=1", "--time=1"]
        command = ["--partition=urgent", *asked, "--output=/dev/null", "--wrap=sleep 2"]
        return self._cluster.ask("sbatch", *command).ok


def _steps(paths: StudyPaths, trial: str) -> int:
    lines: list[int] = []
    with suppress(OSError):
        lines = [
            line["step"] for line in read_jsonl(paths.trial(trial).progress) if line["phase"] == "training"
        ]
    return max(lines, default=0)
