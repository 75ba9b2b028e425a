"""The first day on a site with its own ways: what doctor names, and studies that run all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from site_clients import CLIENTS, NOISY, REFUSING, search_path
from study_runs import SYNTHETIC, StudyRun

from slurm.devcluster.files import Layout

pytestmark = pytest.mark.slurm

LOGIN_NODE = {
    "SBATCH_PARTITION": "urgent",
    "SBATCH_EXPORT": "NONE",
    "SLURM_EXPORT_ENV": "NONE",
    "SQUEUE_PARTITION": "urgent",
}
FOUR = ["budget.trials=4", "batch.size=4"]


@pytest.fixture
def run(tmp_path: Path, cluster: Layout) -> StudyRun:
    """A study of four short trials."""
    options = [*SYNTHETIC, *FOUR, "cluster=slurm", "cluster.mem_gb=0.25", "trainer.seconds=1"]
    return StudyRun(tmp_path / "studies", options=[*options, "controller.poll_seconds=0.5"])


def test_doctor_names_three_faults_at_once(run: StudyRun, tmp_path: Path) -> None:
    """A variable that is not followed, an old squeue, and a request that no node can meet; plan the first."""
    path = search_path(tmp_path / "clients", {"squeue": REFUSING})
    run.environment = {"PATH": path, "SBATCH_PARTITION": "urgent"}
    wanted = ["cluster=slurm", "cluster.mem_gb=9999", *SYNTHETIC]
    done = run.run("doctor", *wanted)
    assert done.returncode == 1
    assert "environment: SBATCH_PARTITION=urgent is not followed" in done.stdout
    assert "squeue: unrecognized option '--old-site'" in done.stdout
    assert "no node has so much" in done.stdout
    assert "SBATCH_PARTITION=urgent is not followed" in run.run("plan", *wanted).stdout


def test_a_study_runs_through_variables_and_banners(run: StudyRun, tmp_path: Path) -> None:
    """Every trial once."""
    path = search_path(tmp_path / "clients", dict.fromkeys(CLIENTS, NOISY))
    run.environment = {"PATH": path, **LOGIN_NODE}
    output = run.finish()
    assert run.attempts() == dict.fromkeys(["0000", "0001", "0002", "0003"], 1), output


def test_results_are_taken_though_squeue_always_fails(run: StudyRun, tmp_path: Path) -> None:
    """And after three polls it is said, in the client's own words."""
    run.environment = {"PATH": search_path(tmp_path / "clients", {"squeue": REFUSING})}
    controller = run.start()
    wait_until(lambda: run.paths.journal.exists() and len(run.completed()) == 4)
    controller.terminate()
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert output.count("squeue: unrecognized option '--old-site'") == 1
    assert "3 times in a row" in output
