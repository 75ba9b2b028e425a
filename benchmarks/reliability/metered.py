"""The controller measured from outside: its CPU, its memory, and the programs of Slurm that it calls."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from resource import struct_rusage

from benchmarks.records import ROOT
from benchmarks.reliability.study import StudyProcess

LOOK_S = 0.02
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
CLIENTS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")

# What a task calls (scontrol requeue) is no call of the controller; only tasks have that variable.
_COUNTING = """#!/bin/sh
echo "${{SLURM_JOB_ID:+task }}{name}" >> {log}
exec {real} "$@"
"""


class Calls:
    """Programs for the front of PATH that note down each call and go on as the real ones.

    Args:
        folder: of the programs; made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._log = folder / "calls"
        self.search_path = os.pathsep.join([str(folder), os.environ["PATH"]])
        for name in CLIENTS:
            program = folder / name
            real, log = shlex.quote(str(shutil.which(name))), shlex.quote(str(self._log))
            program.write_text(_COUNTING.format(name=name, log=log, real=real))
            program.chmod(0o755)

    def counted(self) -> dict[str, int]:
        """Calls by program; those made by tasks have `task` before the name."""
        return dict(Counter(self._log.read_text().splitlines())) if self._log.exists() else {}


@dataclass
class Usage:
    """What the controllers of a study took together; CPU with the client programs that they called."""

    exit: int | None = None  # of the last one; None: it did not end in time
    starts: int = 0
    seconds: float = 0.0  # from the first start to the last end
    cpu_s: float = 0.0
    peak_mib: float = 0.0  # of the largest controller
    first_trial_s: float | None = None  # from the first start to the first attempt's own word

    def watch(self, pid: int) -> None:
        """Note down how large a living process has been.

        Not from wait4, whose figure begins with what the parent held when it started the process.

        Args:
            pid: of the controller.
        """
        with suppress(OSError):
            if found := _PEAK.search(Path(f"/proc/{pid}/status").read_text()):
                self.peak_mib = max(self.peak_mib, int(found[1]) / 1024)


def drive(
    study: StudyProcess, limit_s: float, look: Callable[[subprocess.Popen[bytes]], None] = lambda _: None
) -> Usage:
    """Run `tune` to its end, again after each kill -9.

    Args:
        study: whose command.
        limit_s: when to give up, with kill -9.
        look: called every few milliseconds with the controller at work.
    """
    usage, began = Usage(), time.monotonic()
    while True:
        with study.log.open("ab") as log:
            process = subprocess.Popen(
                study.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT,
                env={**os.environ, **study.environment},
            )  # fmt: skip
        usage.starts += 1
        while (spent := _ended(process)) is None:
            usage.seconds = time.monotonic() - began
            usage.watch(process.pid)
            if usage.first_trial_s is None and any(study.paths.trials.glob("*/attempts/1.json")):
                usage.first_trial_s = usage.seconds
            if usage.seconds > limit_s:
                process.kill()
                process.wait()
                return usage
            look(process)
            time.sleep(LOOK_S)
        usage.seconds = time.monotonic() - began
        usage.cpu_s += spent.ru_utime + spent.ru_stime  # with all children that it waited for
        if process.returncode != -9:
            usage.exit = process.returncode
            return usage


def _ended(process: subprocess.Popen[bytes]) -> struct_rusage | None:
    """What a process has used; None while it runs. `Popen.wait` would not tell."""
    pid, status, spent = os.wait4(process.pid, os.WNOHANG)
    if not pid:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return spent
