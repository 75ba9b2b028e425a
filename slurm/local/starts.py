"""Elements of the local executor that are being started and have not been claimed yet."""

from __future__ import annotations

import secrets
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from slurm.local import claim
from slurm.local.array import Claim, LocalArray
from slurm.local.launch import Launch, spawn
from slurm.settings import ClusterSettings
from slurm.view import Task

# A launch can be hit by a signal before its element is claimed; one that always fails has a cause.
LAUNCH_ATTEMPTS = 3


@dataclass(frozen=True)
class _Start:
    process: subprocess.Popen[bytes]
    gpu: str


class Starts:
    """Starts elements, and knows which of its starts have led to nothing.

    Args:
        settings: time limit and warning of an element whose array has none of its own.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._starts: dict[Task, _Start] = {}
        self._ending: list[subprocess.Popen[bytes]] = []
        self._attempts: Counter[Task] = Counter()

    def __contains__(self, task: Task) -> bool:
        return task in self._starts

    def gpus(self) -> list[str]:
        """The GPU of each element that is being started."""
        return [start.gpu for start in self._starts.values()]

    def tasks(self) -> Iterable[Task]:
        """Every element that is being started."""
        return self._starts.keys()

    def begin(self, array: LocalArray, index: int, gpu: str) -> None:
        """Start an element in the background.

        Args:
            gpu: the value of CUDA_VISIBLE_DEVICES; empty for none.
        """
        task = (array.job_id, index)
        self._attempts[task] += 1
        self._starts[task] = _Start(spawn(self.launch(array, index), gpu), gpu)

    def settle(self, array: LocalArray, index: int) -> Claim | None:
        """The claim of an element, once it has one; its start is then done with."""
        task = (array.job_id, index)
        start = self._starts.get(task)
        ended = start is not None and start.process.poll() is not None
        known = array.claim(index)  # after the look at the process: what has ended claims no more
        if start is not None and (ended or known is not None):
            del self._starts[task]
            self._reap(start.process)
        if known is None and ended and self._attempts[task] >= LAUNCH_ATTEMPTS:
            array.withhold(index, claim.FAILED_TO_START)
            known = array.claim(index)
        return known

    def launch(self, array: LocalArray, index: int) -> Launch:
        """What starting an element takes, in a new folder of its own."""
        return Launch(
            folder=str(array.workspace / f"{index}-{secrets.token_hex(4)}"),
            mark=array.mark(index),
            claim_file=str(array.claim_file(index)),
            start_script=str(array.start_script),
            target=array.target,
            arguments=array.arguments[index],
            time_limit_min=array.time_limit_min or self._settings.default_minutes,
            signal_delay_s=self._settings.signal_delay_s,
        )

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        # A starter ends by itself soon after its element is claimed; until waited for it is a zombie.
        self._ending = [each for each in (*self._ending, process) if each.poll() is None]
