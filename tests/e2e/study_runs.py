"""Running whole studies as a user does: the command line, in processes that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until

from hpo.cli import main
from hpo.paths import StudyPaths
from hpo.records import Lease
from hpo.study.journal import load_study
from hpo.study.state import Study, TrialState

TESTS = Path(__file__).resolve().parent.parent
SYNTHETIC = ["trainer=synthetic", "trainer.sigma=0"]


@dataclass
class StudyRun:
    """One study under a temporary root, started again and again with the same command."""

    root: Path
    name: str = "study"
    options: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    reports: bool = False  # made by `tune` itself: each takes ten seconds of a core

    @property
    def paths(self) -> StudyPaths:
        """The study's files."""
        return StudyPaths(self.root / self.name)

    @property
    def study(self) -> Study:
        """As its journal tells it."""
        return load_study(self.paths.journal)

    def command(self, command: str = "tune", *more: str) -> list[str]:
        """The command line of `tune`, `step` or `plan`."""
        where = [f"study.root={self.root}", f"study.name={self.name}"]
        where += [] if self.reports else ["report.automatic=false"]
        return [sys.executable, "-m", "hpo", command, *self.options, *where, *more]

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Start a controller."""
        return subprocess.Popen(
            self.command("tune", *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._env(),
        )

    def finish(self, *more: str, timeout_s: float = PATIENCE_S) -> str:
        """Run `tune` to its end and return what it printed."""
        controller = self.start(*more)
        output, _ = controller.communicate(timeout=timeout_s)
        assert controller.returncode == 0, output
        return output

    def run(self, *arguments: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """Run any command of the program."""
        command = [sys.executable, "-m", "hpo", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=self._env(), timeout=timeout_s, check=False
        )

    def call(self, *arguments: str) -> int:
        """Run any command of the program in this process, which costs a fifth of one of its own."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._env().items():
                patch.setenv(name, value)
            try:
                return main(arguments)
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def kill_when(self, happened: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Start a controller and kill -9 it as soon as something has happened."""
        controller = self.start()
        try:
            wait_until(lambda: happened() or controller.poll() is not None, timeout_s)
            assert controller.poll() is None, controller.communicate()[0]
        finally:
            controller.kill()
            controller.communicate()

    def attempts(self) -> dict[str, int]:
        """How often each trial was executed."""
        names = sorted(folder.name for folder in self.paths.trials.iterdir())
        return {name: len(list(self.paths.trial(name).attempts.glob("*.json"))) for name in names}

    def began(self, trial: str) -> bool:
        """Whether a trial is or was being executed."""
        return self.paths.trial(trial).attempt(1).exists()

    def process(self, trial: str) -> int:
        """The process id of a trial's newest attempt."""
        return Lease.read(self.paths.trial(trial).lease).pid

    def completed(self) -> list[str]:
        """The ids of the completed trials."""
        return [trial.id for trial in self.study.in_state(TrialState.COMPLETED)]

    def _env(self) -> dict[str, str]:
        # the repository's root too: the tests must not depend on where they are started
        path = os.pathsep.join([str(TESTS / "fakes"), str(TESTS.parent)])
        return {**os.environ, "PYTHONPATH": path, **self.environment}
