"""What a trial does when it is told that it will be stopped.

USR2 (a warning before preemption or the time limit): checkpoint, ask Slurm to requeue this array element,
wait to be killed. TERM: checkpoint and go on computing, as exiting would count as the end of the element,
and a requeue would undo a cancellation; a program that has ended is not started again before the kill is
overdue. The handlers only take notes; the trial acts on them after a step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from jobs.attempt.console import say

WAIT_FOR_KILL_S = 600.0
REQUEUE_S = 30.0
LOOK_S = 1.0  # between two looks at the notes while waiting for something else
CANCELLED = 128 + signal.SIGTERM


class Signals:
    """Notes of the signals that came, and the answer to them.

    Args:
        cancel: marker of a cancelled trial.
        pause: marker of a paused study, whose elements are requeued but not to start.
        wait_s: for how long to wait for the kill after a requeue, or after TERM.
    """

    def __init__(self, cancel: Path, pause: Path, wait_s: float = WAIT_FOR_KILL_S) -> None:
        self._cancel = cancel
        self._pause = pause
        self._wait_s = wait_s
        self._requeue = False
        self._checkpoint = False
        self._term_at: float | None = None
        # The only queue whose `put` may be called from a handler, whatever the main thread is doing.
        self.noticed: SimpleQueue[str] = SimpleQueue()

    def install(self) -> None:
        """Take over USR2 and TERM, and let in those that came while they were blocked."""
        signal.signal(signal.SIGUSR2, self._on_warning)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2, signal.SIGTERM})

    def _on_warning(self, number: int, frame: FrameType | None) -> None:
        self._requeue = self._checkpoint = True
        self.noticed.put("USR2")

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        if self._cancel.exists():
            os._exit(CANCELLED)  # nothing of a cancelled trial is worth the time that a tidy end takes
        self._checkpoint = True
        self._term_at = time.monotonic()
        self.noticed.put("TERM")

    @property
    def due(self) -> bool:
        """Whether a checkpoint is asked for."""
        return self._checkpoint

    def answer(self) -> None:
        """Do what was asked for, now that the checkpoint is written."""
        requeue, self._requeue, self._checkpoint = self._requeue, False, False
        element = array_element()
        if requeue and element is not None and os.environ.get("SLURM_PROCID", "0") == "0":
            how = "requeuehold" if self._pause.exists() else "requeue"
            say(f"asking Slurm to {how} {element}")
            _scontrol(how, element)
            time.sleep(self._wait_s)  # the kill ends this; if it never comes, the requeue failed: go on

    def answer_if_due(self) -> None:
        """Do what was asked for, if anything, while there is nothing that a checkpoint could keep."""
        if self.due:
            self.answer()

    def outlive(self) -> None:
        """Wait for the kill that a TERM has announced; what is started before it would be killed at work.

        If it is overdue, whoever sent the signal meant something else.
        """
        while self._term_at is not None and (left := self._term_at + self._wait_s - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))
            self.answer_if_due()

    def wait(self, seconds: float) -> None:
        """Sleep while there is nothing that a checkpoint could keep, and answer what comes meanwhile.

        Args:
            seconds: how long; longer if something came.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))
            self.answer_if_due()


def array_element() -> str | None:
    """Slurm's name of this array element; never the job id, which the last element shares with its array."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else None


def _scontrol(how: str, element: str) -> None:
    # Its exit code says nothing: scontrol runs in the same step and gets the same signals.
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["scontrol", how, element], check=False, timeout=REQUEUE_S)
