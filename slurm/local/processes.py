"""Which processes of this machine belong to an array element, and how to end them and no other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from slurm.local.claim import process_status

# Every process of an element carries it in its environment; its value is unique to the element.
MARK = "FRONTRUNNER_TASK"

GONE_S = 20.0  # a busy machine takes its time to end a killed process


def is_alive(pid: int, start_ticks: int) -> bool:
    """Whether this very process still runs: a zombie does not, nor does a later one with the same id."""
    status = process_status(pid)
    return status is not None and status[0] not in "ZX" and status[1] == start_ticks


def marked(marks: Collection[str]) -> list[int]:
    """Every process that was started, directly or not, with one of these marks in its environment."""
    entries = {f"{MARK}={mark}".encode() for mark in marks}
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid() and _environment(folder) & entries:
            found.append(int(folder.name))
    return found


def _environment(folder: Path) -> set[bytes]:
    try:
        return set((folder / "environ").read_bytes().split(b"\0"))
    except OSError:  # it has ended, or belongs to another user
        return set()


def warn(leaders: Collection[tuple[int, int]]) -> None:
    """Send USR2 to each (pid, start time)."""
    _send(leaders, signal.SIGUSR2)


def terminate(leaders: Collection[tuple[int, int]], grace_s: float) -> None:
    """Send TERM to each (pid, start time) and wait until all have ended, at most `grace_s`."""
    _send(leaders, signal.SIGTERM)
    _await_end(leaders, grace_s)


def _await_end(processes: Collection[tuple[int, int]], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while any(is_alive(*process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)


def _send(leaders: Collection[tuple[int, int]], number: signal.Signals) -> None:
    for pid, start_ticks in leaders:
        if is_alive(pid, start_ticks):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def kill_marked(marks: Collection[str]) -> None:
    """Kill every process with one of these marks, also new ones, and wait until they are gone."""
    killed: set[tuple[int, int]] = set()
    for _ in range(100):
        pids = marked(marks)
        if not pids:
            break
        killed |= {(pid, status[1]) for pid in pids if (status := process_status(pid)) is not None}
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    _await_end(killed, GONE_S)  # one that is exiting has no environment any more, and is there all the same
