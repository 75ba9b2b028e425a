"""Studies that no living controller drives: single steps, a chain of jobs, a controller that hands over."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import SYNTHETIC, StudyRun

from hpo.controller.chain import AGAIN_S
from hpo.paths import StudyPaths
from hpo.study.journal import load_study
from hpo.study.state import TrialState
from slurm.devcluster.files import Layout

pytestmark = pytest.mark.slurm

# a link that finds nothing in the queue that another could follow comes AGAIN_S later
CHAIN_S = PATIENCE_S + AGAIN_S
EIGHT = [f"{number:04d}" for number in range(8)]


@pytest.fixture
def run(tmp_path: Path, cluster: Layout) -> StudyRun:
    """A study of eight short trials as arrays of four, refilled by twos."""
    options = [*SYNTHETIC, "cluster=slurm", "cluster.mem_gb=0.25", "budget.trials=8", "batch.refill=2"]
    helper = ["cluster.helper.cpus=1", "cluster.helper.mem_gb=1"]
    free = ["strategy=sobol", "~strategy.initial", "controller.gone_seconds=5"]
    return StudyRun(tmp_path / "studies", options=[*options, *helper, *free, "trainer.seconds=2"])


def _exactly_once(run: StudyRun) -> None:
    """Every trial has one result of one attempt, and the queue is empty."""
    assert run.completed() == EIGHT
    assert run.attempts() == dict.fromkeys(EIGHT, 1)
    wait_until(lambda: not _queue(run))


def _queue(run: StudyRun) -> list[str]:
    command = ["squeue", "-h", "-o", "%j"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return [name for name in names if name.startswith(f"fr-{run.name}-")]


def test_single_steps_drive_a_study_to_its_end(run: StudyRun) -> None:
    """What cron does: the same command again and again, each time one pass."""
    for _ in range(60):
        done = run.run(*run.command("step")[3:])
        assert done.returncode == 0, done.stderr
        if run.study.finished:
            break
    assert "budget.trials=8" in run.study.finished
    _exactly_once(run)


@pytest.mark.long(90)
def test_chain_of_jobs_drives_a_study_to_its_end(run: StudyRun) -> None:
    """One command, and from then on each array is followed by the job that takes the next step.

    The last of them makes the report, with nobody there to ask for it.
    """
    run.reports = True
    done = run.run(*run.command("tune", "controller.chain=true")[3:])
    assert done.returncode == 0, done.stderr
    assert "goes on by itself" in done.stdout
    wait_until(lambda: bool(run.study.finished), CHAIN_S)
    page, end = run.paths.report_page, "complete: budget.trials=8 is spent"
    wait_until(lambda: page.exists() and end in page.read_text(), 900)  # of a low priority
    _exactly_once(run)


@pytest.mark.slow
@pytest.mark.long(40)
def test_chain_of_jobs_drives_the_arms_and_draws_their_picture(run: StudyRun) -> None:
    """One command: the pilot, then both arms side by side, and the step after the last compares them."""
    run.options = [*run.options, "budget.trials=2", "batch.size=2"]
    arms = ['+arms.random=["strategy=random","budget.trials=2"]', '+arms.sobol=["budget.trials=2"]']
    done = run.run(*run.command("tune", "controller.chain=true", *arms)[3:])
    assert done.returncode == 0, done.stderr
    wait_until((run.paths.report / "arms.png").exists, CHAIN_S)
    for arm in ("random", "sobol"):
        own = load_study(StudyPaths(run.root / f"{run.name}-{arm}").journal)
        assert len(own.in_state(TrialState.COMPLETED)) == 2
    wait_until(lambda: not _queue(run))


@pytest.mark.slow
@pytest.mark.long(100)
def test_controller_with_a_time_limit_hands_over(run: StudyRun, repository: Path) -> None:
    """The first is warned after half a minute, the study takes more: at least two of them, one at a time."""
    run.options = [*run.options, "cluster.max_parallel=1", "trainer.seconds=6", "trainer.sigma=0"]
    run.root.mkdir()
    limits = ["--time=2", "--signal=B:USR1@90", "--mem=1G", "--cpus-per-task=1"]
    log = f"--output={run.root}/controller.log"
    script = str(repository / "slurm" / "controller.sbatch")
    subprocess.run(
        ["sbatch", *limits, log, script, *run.command()[4:]],
        check=True,
        capture_output=True,
        cwd=repository,
        env=run._env(),
    )
    wait_until(lambda: run.paths.journal.exists() and bool(run.study.finished))
    _exactly_once(run)
    started = (run.root / "controller.log").read_text().count("trials run as Slurm arrays")
    assert started >= 2
