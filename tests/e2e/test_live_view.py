"""What people see on a terminal while `tune` drives a study on a real Slurm cluster."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import PATIENCE_S
from study_runs import SYNTHETIC, StudyRun
from terminal import Terminal

from slurm.devcluster.files import Layout

pytestmark = pytest.mark.slurm

HINT = "Ctrl-C leaves the trials running"
AT_WORK = re.compile(r"^(\d{4}) +training +\S* +(\d+)/(\d+) +(\d+\.\d+) +\d+s", re.MULTILINE)
BATCH = re.compile(r"^(\d{4}) +(\d+) +[12] +(.*)$", re.MULTILINE)


@pytest.fixture
def run(tmp_path: Path, cluster: Layout) -> StudyRun:
    """A study of three synthetic trials as arrays of two at most, one trial at a time."""
    options = [*SYNTHETIC, "cluster=slurm", "cluster.mem_gb=0.25", "controller.poll_seconds=0.5"]
    size = ["budget.trials=3", "batch.size=2", "batch.refill=2", "cluster.max_parallel=1"]
    pace = ["trainer.seconds=6", "trainer.step_seconds=0.02", "controller.look_seconds=0.25"]
    quick = ["strategy=sobol", "~strategy.initial"]
    return StudyRun(tmp_path / "studies", options=[*options, *size, *pace, *quick])


@pytest.fixture
def terminal(run: StudyRun, repository: Path) -> Iterator[Terminal]:
    """The study's `tune` on a terminal."""
    opened = Terminal(run.command(), run._env(), repository)
    yield opened
    opened.close()


def test_live_view_of_a_study_on_slurm(terminal: Terminal, run: StudyRun) -> None:
    """Batches in Slurm's words, the trial at work step by step, the front; then a tidy terminal."""
    assert terminal.leave(PATIENCE_S) == 0, terminal.shown
    pictures = [screen for screen in terminal.screens if HINT in screen]
    states = {(batch, states) for screen in pictures for batch, _, states in BATCH.findall(screen)}
    assert {batch for batch, _ in states} == {"0000", "0001"}
    assert any(re.search(r"1 running, 1 PENDING JobArrayTaskLimit +gpu\d", own) for _, own in states), states
    assert any("1 completed, 1 running" in own for _, own in states), states
    assert any("waiting: 1 (PENDING JobArrayTaskLimit)" in screen for screen in pictures)
    moves = {one[:2] for screen in pictures for one in AT_WORK.findall(screen)}
    for trial in ("0000", "0001", "0002"):  # they tell of a step every second
        assert len({step for name, step in moves if name == trial}) > 1, moves
    arrays = {array for screen in pictures for _, array, _ in BATCH.findall(screen)}
    assert arrays == {batch.job_id for batch in run.study.batches.values()}
    with_front = [screen for screen in pictures if "Pareto front" in screen]
    assert any(AT_WORK.search(screen) and "hypervolume" in screen for screen in with_front)
    assert any(re.search(r"about \d+s and .* GPU-hours left, to the end at", s) for s in with_front)
    assert HINT not in terminal.shown
    assert terminal.shown.count("Pareto front") == 1
    assert f"study {run.name} is complete (budget.trials=3 is spent)" in terminal.shown
    assert terminal.everything.count("trial 0002 completed:") == 1  # events scroll above the picture
    assert terminal.untidy == []


def test_an_interrupt_leaves_a_tidy_terminal(terminal: Terminal, run: StudyRun) -> None:
    """The picture goes, what to do is said, and the trial on Slurm goes on."""
    terminal.watch(AT_WORK.search, PATIENCE_S)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.leave(PATIENCE_S) == 3
    assert HINT not in terminal.shown
    assert f"The same command continues study {run.name}" in " ".join(terminal.shown.split())
    assert terminal.untidy == []
    assert run.study.open_batches
