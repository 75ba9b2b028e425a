"""The other processes of a trial that trains on several cards: started by rank 0, and gone when it is.

They follow rank 0 in everything: they write no file, no signal reaches them (Slurm sends its warnings to
every process of a task), and they die with rank 0. If one of them ends before its time, so does the attempt.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hpo.records import Cause
from jobs.attempt.console import complain
from jobs.attempt.failures import cause_of
from jobs.errors import TrialError
from jobs.training.gpus import VISIBLE

MODULE = "jobs.training.worker"
LOOK_S = 0.5
# Until the main thread must have seen by itself that a rank is gone; on a card it may wait for it for ever.
GRACE_S = 20.0
REPORT_S = 15.0  # for the word of a rank that is failing
MOST_TRACEBACK = 30_000  # characters; a pipe takes 64 KiB that nobody reads yet
PR_SET_PDEATHSIG = 1
KEPT_OUT = {signal.SIGUSR2, signal.SIGTERM, signal.SIGINT}


class RankFailed(TrialError):
    """Another process of the trial has ended."""

    def __init__(self, message: str, cause: Cause = Cause.ERROR) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class _Worker:
    rank: int
    process: subprocess.Popen[bytes]
    report: int  # the end of a pipe that its failure is told on


class WorkerProcesses:
    """Ranks 1 and up of a trial; must be started by the main thread, with which they die.

    Args:
        cards: of each rank; none on a machine without.
        abandon: ends this process, with a failure as the outcome; called where the main thread is stuck.
    """

    def __init__(
        self,
        trial: Path,
        attempt: int,
        count: int,
        port: int,
        cards: Sequence[str],
        abandon: Callable[[Exception], None],
    ) -> None:
        self._abandon = abandon
        self._over = threading.Event()
        self._reading = threading.Lock()
        self._known: dict[int, RankFailed] = {}  # by rank: a pipe can be read only once
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, KEPT_OUT)  # they inherit it, and keep it
        try:
            self._workers = [
                _start(trial, attempt, rank, count, port, cards[rank] if cards else None)
                for rank in range(1, count)
            ]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        threading.Thread(target=self._watch, name="workers", daemon=True).start()

    def explain(self, error: Exception) -> Exception:
        """The failure of another rank, where that is what made this one fail."""
        if isinstance(error, TrialError) or not isinstance(error, RuntimeError):
            return error
        until = time.monotonic() + REPORT_S
        while not (lost := self._lost()) and time.monotonic() < until:
            time.sleep(0.05)
        return self._failure(lost[0]) if lost else error

    def join(self) -> None:
        """Wait until they have ended, now that their work is done.

        Raises:
            RankFailed: one ended otherwise.
        """
        for worker in self._workers:
            worker.process.wait()
        if lost := self._lost():
            raise self._failure(lost[0])

    def close(self) -> None:
        """End those that are still there; harmless when repeated."""
        self._over.set()
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
            with suppress(OSError):
                os.close(worker.report)
        self._workers = []

    def _lost(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.process.poll()]

    def _failure(self, lost: _Worker) -> RankFailed:
        with self._reading:
            if lost.rank not in self._known:
                self._known[lost.rank] = _failure(lost)
            return self._known[lost.rank]

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            if lost := self._lost():
                failure = self._failure(lost[0])
                complain(str(failure))
                if not self._over.wait(GRACE_S):
                    self._abandon(failure)
                return


def _start(trial: Path, attempt: int, rank: int, count: int, port: int, card: str | None) -> _Worker:
    ours, theirs = os.pipe()
    words = (trial, attempt, rank, count, port, os.getpid(), theirs)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # rank 0 says it all
            pass_fds=[theirs],
            env={**os.environ, **({} if card is None else {VISIBLE: card})},
        )
    finally:
        os.close(theirs)
    os.set_blocking(ours, False)
    return _Worker(rank, process, ours)


def _failure(worker: _Worker) -> RankFailed:
    """What a rank that has ended says of it, or else how it ended."""
    text = b""
    with suppress(OSError):
        text = os.read(worker.report, 2**16)
    with suppress(ValueError, KeyError, TypeError):
        told = json.loads(text)
        message = f"rank {worker.rank} failed: {told['message']}\n\n{told['traceback']}"
        return RankFailed(message, Cause(told["cause"]))
    code = worker.process.returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return RankFailed(f"rank {worker.rank} of this trial (process {worker.process.pid}) {how}")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def report_failure(pipe: int, error: Exception) -> None:
    """Tell rank 0 why this rank ends."""
    message = str(error) if isinstance(error, TrialError) else f"{type(error).__name__}: {error}"
    lines = "".join(traceback.format_exception(error))
    told = {"cause": cause_of(error).value, "message": message[:2000], "traceback": lines[-MOST_TRACEBACK:]}
    os.write(pipe, json.dumps(told).encode()[: 2**16 - 1])
