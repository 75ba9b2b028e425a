"""Study folders that are damaged, or somebody else's, while their arrays are in the queue of a true Slurm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conditions import wait_until
from study_runs import SYNTHETIC, StudyRun

from hpo.records import read_json
from slurm.devcluster.files import Layout

pytestmark = pytest.mark.slurm


@pytest.fixture
def run(tmp_path: Path, cluster: Layout) -> StudyRun:
    """A study of two synthetic trials in one array."""
    options = [*SYNTHETIC, "cluster=slurm", "cluster.mem_gb=0.25", "controller.poll_seconds=0.5"]
    options += ["budget.trials=2", "batch.size=2", "batch.refill=1", "trainer.seconds=5"]
    return StudyRun(tmp_path / "studies", options=options)


def _both_run(run: StudyRun) -> bool:
    return run.began("0000") and run.began("0001")


def test_a_folder_that_lost_its_records_takes_its_array_back(run: StudyRun) -> None:
    """Controller killed, journal emptied, lease and record torn: the array that runs is its own still."""
    run.kill_when(lambda: _both_run(run))
    record = run.paths.batch("0000").record
    job_id = read_json(record)["job_id"]
    for path in (run.paths.journal, run.paths.queue):
        os.truncate(path, 0)
    run.paths.controller.write_text("{")
    os.utime(run.paths.controller, (0, 0))
    mended = run.run("doctor", str(run.paths.folder))
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "rebuilt from" in mended.stdout
    record.write_text("{")  # the journal has the array by now
    run.finish()
    assert run.attempts() == {"0000": 1, "0001": 1}
    assert run.completed() == ["0000", "0001"]
    assert read_json(record)["job_id"] == job_id


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_array_of_somebody_elses_folder_is_not_cancelled(run: StudyRun) -> None:
    """It is said whose it is; with its owner trusted by name, it is cancelled."""
    run.kill_when(lambda: _both_run(run))
    os.chown(run.paths.journal, 65534, -1)
    refused = run.run("cancel", str(run.paths.folder))
    assert refused.returncode == 2
    assert "belongs to" in refused.stderr
    squeue = ["squeue", "-h", "-r", "-t", "running", "-o", "%i"]
    assert len(subprocess.run(squeue, capture_output=True, text=True, check=True).stdout.split()) == 2
    done = run.run("cancel", str(run.paths.folder), "--trust", "65534")
    assert done.returncode == 0, done.stderr
    wait_until(
        lambda: subprocess.run(squeue, capture_output=True, text=True, check=True).stdout.split() == [], 30
    )
