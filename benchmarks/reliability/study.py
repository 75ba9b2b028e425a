"""A study driven by the command line as a user does it, whose controllers may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.records import ROOT
from hpo.paths import StudyPaths
from hpo.records import RecordError
from hpo.study.journal import load_study
from hpo.study.state import Study

LOOK_S = 0.05
ANY = (
    "experiment=none",
    "report.automatic=false",
    "cluster=slurm",
    "cluster.mem_gb=0.25",
    "controller.poll_seconds=1",
    "controller.gone_seconds=6",
)
SYNTHETIC = (
    *ANY,
    "trainer=synthetic",
    "trainer.seconds=4",
    "trainer.sigma=0.5",
    "trainer.start_seconds=0.3",
    "trainer.checkpoint_every_s=1",
)
PROGRAM = (
    *ANY,
    "trainer=command",
    "trainer.argv=['{python}',-m,benchmarks.reliability.program"
    ",'{x}','{seed}','{folder}','{progress}','{metrics}']",
    "trainer.metrics=[loss]",
    "space=none",
    "space.x='interval(0,1)'",
    "objectives=none",
    "objectives.loss=min",
)


class StudyProcess:
    """A study and the controller processes that drive it.

    Args:
        root: the study root.
        name: of the study.
        options: further overrides of `tune`.
        environment: what the controllers get beyond this process's own environment.
        log: takes what they print.
    """

    def __init__(
        self, root: Path, name: str, options: Sequence[str], environment: dict[str, str], log: Path
    ) -> None:
        self.root, self.name, self.options = root, name, list(options)
        self.environment, self.log = environment, log
        self.paths = StudyPaths(root / name)
        self.starts = 0
        self.displaced: set[int] = set()  # pids of controllers whose end says nothing of the study
        self.over = threading.Event()
        self._controllers: list[subprocess.Popen[bytes]] = []
        self._code: int | None = None
        self._lock = threading.RLock()
        self._outage = threading.Lock()

    def command(self, command: str = "tune", *more: str) -> list[str]:
        """The command line of `tune`, `step` or `plan`."""
        where = [f"study.root={self.root}", f"study.name={self.name}"]
        return [sys.executable, "-m", "hpo", command, *self.options, *where, *more]

    @property
    def variables(self) -> dict[str, str]:
        """The whole environment of the next controller."""
        return {**os.environ, **self.environment}

    def start(self) -> subprocess.Popen[bytes]:
        """Start a controller, beside one that is there already."""
        with self._lock, self.log.open("ab") as log:
            log.write(f"--- controller {self.starts} at {time.strftime('%X')}\n".encode())
            log.flush()
            process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.variables,
                cwd=ROOT,
            )
            self._controllers.append(process)
            self.starts += 1
            return process

    def drive(self, limit_s: float) -> int | None:
        """Start the controller, again whenever it was killed with signal 9, and never otherwise.

        Args:
            limit_s: when to give up.

        Returns:
            The exit code of the last controller; None if time ran out.
        """
        deadline = time.monotonic() + limit_s
        try:
            self._start_unless_there()
            while time.monotonic() < deadline:
                code = self._exit_code()
                if code is None:
                    time.sleep(LOOK_S)
                elif code == -signal.SIGKILL:
                    self._start_unless_there()
                else:
                    return code
            return None
        finally:
            self.over.set()
            self.kill()

    def _start_unless_there(self) -> None:
        with self._outage, self._lock:
            if not self._controllers:
                self.start()

    def _exit_code(self) -> int | None:
        """The code of the last controller that ended; None while one is at work."""
        with self._lock:
            for process in list(self._controllers):
                if process.poll() is not None:
                    self._controllers.remove(process)
                    if process.pid not in self.displaced:
                        self._code = process.returncode
            return None if self._controllers else self._code

    @property
    def controllers(self) -> list[int]:
        """The process ids of those at work."""
        with self._lock:
            return [process.pid for process in self._controllers if process.poll() is None]

    @contextmanager
    def outage(self) -> Iterator[None]:
        """No controller is started meanwhile."""
        with self._outage:
            yield

    def kill(self) -> bool:
        """kill -9 of every controller; returns whether one was at work."""
        with self._lock:
            found = [process for process in self._controllers if process.poll() is None]
            for process in found:
                process.kill()
                process.wait()
            return bool(found)

    @property
    def study(self) -> Study | None:
        """As its journal tells it now; None where it cannot be read yet."""
        try:
            study = load_study(self.paths.journal)
        except (OSError, RecordError):
            return None
        return study if study.uid else None

    @property
    def completed(self) -> int:
        """How many trials the journal says are completed, by a cheap look."""
        try:
            return self.paths.journal.read_bytes().count(b'"event": "trial_completed"')
        except OSError:
            return 0
