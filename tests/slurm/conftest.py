"""Fixtures of the cluster tests: settings, targets for elements, and a one-machine cluster of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import yaml
from conditions import PATIENCE_S
from process_executor import ProcessExecutor

from slurm import local_executor
from slurm.devcluster import cluster as devcluster
from slurm.devcluster.files import Layout, Options
from slurm.local_executor import LocalExecutor
from slurm.simulated_executor import SimulatedExecutor
from slurm.slurm_executor import SlurmExecutor

REPOSITORY = Path(__file__).parents[2]
Executor = LocalExecutor | SlurmExecutor | ProcessExecutor | SimulatedExecutor


@pytest.fixture
def settings() -> dict[str, Any]:
    """The shipped defaults of every cluster key, with little memory so that nodes hold many elements."""
    text = (REPOSITORY / "conf" / "cluster" / "base.yaml").read_text()
    return {**yaml.safe_load(text), "mem_gb": 0.25}


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> str:
    """The module of targets, importable by the processes that a test starts."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("targets")))
    return "element_targets"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for one array's files."""
    made = tmp_path / "array"
    made.mkdir()
    return made


@dataclass(frozen=True)
class ElementLog:
    """What the elements of a test have noted, each line with its time as the last word."""

    folder: Path

    def lines(self, word: str) -> list[list[str]]:
        """The lines that begin with a word, without it."""
        log = self.folder / "log"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [words[1:] for words in lines if words[0] == word]

    def started(self) -> list[str]:
        """The index of every start, sorted."""
        return sorted(words[0] for words in self.lines("start"))

    def ended(self) -> list[str]:
        """The index of every end, sorted."""
        return sorted(words[0] for words in self.lines("end"))

    def most_at_once(self) -> int:
        """How many ran at the same time at most."""
        moments = [(float(words[-1]), 1) for words in self.lines("start")]
        moments += [(float(words[-1]), -1) for words in self.lines("end")]
        return max(accumulate(change for _, change in sorted(moments)))


@pytest.fixture
def log(tmp_path: Path) -> ElementLog:
    """The log that the elements of a test share."""
    return ElementLog(tmp_path)


@pytest.fixture
def wait_until(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Poll a condition until it holds, by the clock of the executor that a test is about."""
    own = request.getfixturevalue("executor") if "executor" in request.fixturenames else None
    clock: Any = own.clock if own is not None else time

    def wait(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        deadline = clock.monotonic() + timeout_s
        while not condition():
            assert clock.monotonic() < deadline, "still not so when time was up"
            clock.sleep(0.05)

    return wait


@pytest.fixture
def own_cluster(require_slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """A cluster of its own, for a test that disturbs it."""
    layout = devcluster.up(tmp_path / "cluster", Options(nodes=2, extra=("MessageTimeout=2",)))
    monkeypatch.setenv("SLURM_CONF", str(layout.configuration))
    yield layout
    devcluster.down(tmp_path / "cluster")


@pytest.fixture(params=["local", "memory", "simulated", pytest.param("slurm", marks=pytest.mark.slurm)])
def executor(request: pytest.FixtureRequest, settings: dict[str, Any], targets: str) -> Iterator[Executor]:
    """Each executor in turn, the Slurm one on a real cluster."""
    if request.param == "slurm":
        request.getfixturevalue("cluster")
        yield SlurmExecutor(**settings)
        return
    if request.param == "simulated":
        request.getfixturevalue("monkeypatch").syspath_prepend(str(Path(__file__).with_name("targets")))
        site = yaml.safe_load((REPOSITORY / "conf" / "cluster" / "simulated.yaml").read_text())
        site = {name: value for name, value in site.items() if name not in ("defaults", "_target_")}
        yield SimulatedExecutor(**settings, **{**site, "nodes": 4})
        return
    if request.param == "memory":
        in_memory = ProcessExecutor(**settings)
        yield in_memory
        in_memory.cancel(list(in_memory.scheduler.tasks))
        return
    request.getfixturevalue("monkeypatch").setattr(local_executor, "CANCEL_GRACE_S", 1.0)
    local = LocalExecutor(**{**settings, "max_parallel": 2})
    yield local
    local.cancel(list(local.poll()))
