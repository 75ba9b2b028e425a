"""Whole studies on a real one-machine Slurm cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import SYNTHETIC, StudyRun

from hpo.ports import WAITING
from hpo.records import AttemptRecord, read_json
from hpo.study.queue_view import read_queue
from hpo.study.state import TrialState
from slurm.devcluster.files import Layout

pytestmark = pytest.mark.slurm

TWELVE = [f"{number:04d}" for number in range(12)]


@pytest.fixture
def run(tmp_path: Path, cluster: Layout) -> StudyRun:
    """A study of twelve synthetic trials as arrays of four."""
    options = [*SYNTHETIC, "cluster=slurm", "cluster.mem_gb=0.25", "controller.poll_seconds=0.5"]
    return StudyRun(tmp_path / "studies", options=[*options, "trainer.seconds=2"])


def _squeue(*options: str) -> list[str]:
    command = ["squeue", "-h", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def _submitted(path: Path) -> bool:
    return path.exists() and read_json(path)["job_id"] is not None


def _batches(run: StudyRun) -> Sequence[dict[str, object]]:
    return [read_json(path) for path in sorted(run.paths.batches.glob("*/batch.json"))]


def test_study_runs_as_one_array_a_batch(run: StudyRun) -> None:
    """squeue shows the elements of one array; at the end there are three arrays and twelve trials."""
    controller = run.start()
    wait_until(lambda: len(_squeue("-r", "-o", "%F_%K")) == 4)
    shown = _squeue("-r", "-o", "%F_%K")
    assert len({task.split("_")[0] for task in shown}) == 1
    assert sorted(task.split("_")[1] for task in shown) == ["0", "1", "2", "3"]
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    assert run.attempts() == dict.fromkeys(TWELVE, 1)
    assert [batch["state"] for batch in _batches(run)] == ["released"] * 3
    assert len({batch["job_id"] for batch in _batches(run)}) == 3
    wait_until(lambda: _squeue() == [])


@pytest.mark.parametrize("moment", ["after the intent", "after the submission", "while it runs"])
def test_controller_killed_in_the_second_batch(moment: str, run: StudyRun) -> None:
    """kill -9, then the same command: twelve trials, none twice, none lost, nothing held in the queue."""
    second = run.paths.batch("0001")
    happened = {
        "after the intent": second.record.exists,
        "after the submission": lambda: _submitted(second.record),
        "while it runs": run.paths.trial("0005").attempt(1).exists,
    }
    run.options = [*run.options, "strategy=sobol", "~strategy.initial"]
    run.kill_when(happened[moment])
    run.finish()
    assert run.attempts() == dict.fromkeys(TWELVE, 1)
    assert run.completed() == TWELVE
    wait_until(lambda: _squeue() == [])


def test_preempted_trials_come_back_under_the_same_id(run: StudyRun) -> None:
    """An urgent job takes every node; what was preempted goes on from its checkpoint, to four results."""
    run.options = [*run.options, "trainer.seconds=30", "budget.trials=4", "cluster.max_parallel=4"]
    controller = run.start()
    wait_until(lambda: len(list(run.paths.trials.glob("*/attempts/1.json"))) == 4)
    urgent = "--partition=urgent --exclusive --nodes=4 --mem=1 --time=1 --wrap='sleep 3'"
    subprocess.run(f"sbatch {urgent}", shell=True, check=True, capture_output=True, cwd=run.root)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    assert run.completed() == TWELVE[:4]
    assert run.attempts() == dict.fromkeys(TWELVE[:4], 2)
    second = [AttemptRecord.read(run.paths.trial(name).attempt(2)) for name in TWELVE[:4]]
    assert min(attempt.from_step for attempt in second) > 0


def test_cancel_empties_the_queue(run: StudyRun) -> None:
    """After `cancel` neither running nor pending elements are left, and none is requeued."""
    controller = run.start("trainer.seconds=3600", "cluster.max_parallel=2")  # longer than anything waits
    wait_until(lambda: _squeue("-r", "-t", "RUNNING", "-o", "%K") != [])
    assert run.run("cancel", str(run.paths.folder)).returncode == 0
    controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 1
    wait_until(lambda: _squeue() == [])
    assert len(run.study.in_state(TrialState.CANCELLED)) == 4


def test_scancel_of_a_waiting_task_cancels_its_trial(run: StudyRun) -> None:
    """Slurm forgets such a task at once and has no accounting here; another trial takes its place."""
    run.options = [*run.options, "budget.trials=4", "cluster.max_parallel=2", "controller.gone_seconds=1"]
    controller = run.start("trainer.seconds=15")
    wait_until(lambda: len(_squeue("-r", "-t", "RUNNING", "-o", "%K")) == 2)
    (array,) = set(_squeue("-r", "-o", "%F"))
    wait_until(lambda: f"{array}_3" in _shown_to_status(run, array))
    subprocess.run(["scancel", f"{array}_3"], check=True)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    assert run.completed() == [*TWELVE[:3], "0004"]
    assert [(trial.id, trial.message) for trial in run.study.in_state(TrialState.CANCELLED)] == [
        ("0003", "by scancel, not by `frontrunner cancel`")
    ]
    assert len(_batches(run)) == 2


def _shown_to_status(run: StudyRun, array: str) -> list[str]:
    """The tasks that the controller has seen waiting."""
    queue = read_queue(run.paths.queue)
    return [
        f"{array}_{task.split(':')[1]}" for task, (state, _, _) in queue.tasks.items() if state in WAITING
    ]


def test_plan_shows_what_sbatch_would_get_and_submits_nothing(run: StudyRun) -> None:
    """The exact text with its options, and neither a job nor a folder."""
    shown = run.run(*run.command("plan", "cluster.partition=batch", "cluster.time_limit=90")[3:])
    assert shown.returncode == 0, shown.stderr
    for line in ("#SBATCH --partition=batch", "#SBATCH --time=90", "#SBATCH --hold", "#SBATCH --array=0-3"):
        assert line in shown.stdout
    assert _squeue() == []
    assert not run.root.exists()


def test_doctor_passes_on_a_sound_site(run: StudyRun) -> None:
    """Every line is ok or a warning with its hint; exit code 0."""
    run.root.mkdir()
    checked = run.run(*run.command("doctor")[3:])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "ok" in checked.stdout
    assert "fail" not in checked.stdout


def test_controller_as_a_job(run: StudyRun, repository: Path) -> None:
    """slurm/controller.sbatch drives a study from a compute node."""
    log = f"--output={run.root}/controller.log"
    options = [f"--chdir={repository}", "--mem=1G", "--cpus-per-task=1", log]
    run.root.mkdir()
    overrides = run.command()[4:]
    subprocess.run(
        ["sbatch", *options, str(repository / "slurm" / "controller.sbatch"), *overrides],
        check=True,
        capture_output=True,
        cwd=repository,
        env=run._env(),
    )
    wait_until(lambda: run.paths.journal.exists() and bool(run.study.finished))
    assert run.attempts() == dict.fromkeys(TWELVE, 1)
