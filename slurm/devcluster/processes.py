"""The processes of a one-machine cluster: found by its pid files and configuration, ended, and no other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from slurm.devcluster.files import Layout
from slurm.local.claim import process_status


def daemons(layout: Layout) -> dict[str, int]:
    """Live daemons by name: those of the folder's pid files that were started for this folder."""
    found = {}
    for path in sorted(layout.run.glob("*.pid")):
        with suppress(OSError, ValueError):
            pid = int(path.read_text())
            # An old pid file may name an unrelated process by now.
            if str(layout.folder).encode() in _start_line(pid) and _runs(pid):
                found[path.stem] = pid
    return found


def job_processes(layout: Layout) -> list[int]:
    """Step daemons and tasks of this cluster; slurmd hands the path of its configuration on to both."""
    entry = f"SLURM_CONF={layout.configuration}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            in_job = any(each.startswith(b"SLURM_JOB_ID=") for each in environment)
            step = (folder / "comm").read_text().startswith("slurmstepd")
            if entry in environment and (in_job or step):
                found.append(int(folder.name))
    return found


def kill(find: Callable[[], list[int]], attempts: int = 5) -> list[int]:
    """Kill what `find` finds, also what appears meanwhile; returns those that are still there."""
    found = find()
    for _ in range(attempts):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait(found, 1.0)
        found = find()
        if not found:
            break
    return found


def stop(pids: Iterable[int], grace_s: float = 10.0) -> list[int]:
    """Send TERM, and after `grace_s` KILL; returns those that are still there."""
    waiting = list(pids)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in waiting:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        waiting = _wait(waiting, grace_s)
    return waiting


def _wait(pids: list[int], grace_s: float) -> list[int]:
    deadline = time.monotonic() + grace_s
    waiting = pids
    while waiting and time.monotonic() < deadline:
        waiting = [pid for pid in waiting if _runs(pid)]
        time.sleep(0.02)
    return waiting


def _runs(pid: int) -> bool:
    status = process_status(pid)
    return status is not None and status[0] not in "ZX"


def _start_line(pid: int) -> bytes:
    # slurmdbd takes its folder from the environment, the others from the command line.
    folder = Path(f"/proc/{pid}")
    return (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
