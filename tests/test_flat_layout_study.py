"""A study of before the packages had rooms goes on: seven trials have ended, two arrays are in flight.

`assets/flat_layout_study` was made by the last commit of the flat layout, on a true Slurm, and its controller
was killed. Its study.yaml and its arrays hold the module names of that time.
"""

from __future__ import annotations

import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.records import Lease, TrialResult

ASSET = Path(__file__).parent / "assets" / "flat_layout_study"
MADE_IN = "/scratch/studies/before"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The study in a folder of its own."""
    folder = tmp_path / "studies" / "before"
    shutil.copytree(ASSET, folder)
    return folder


def frontrunner(study: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpo", *arguments]
    return subprocess.run(command, cwd=study.parent.parent, capture_output=True, text=True)


def events(study: Path, kind: str) -> list[dict[str, object]]:
    lines = (study / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def test_status_reads_it(study: Path) -> None:
    """The counts of its journal."""
    done = frontrunner(study, "status", str(study), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["completed"] == 7


@pytest.mark.slow
def test_report_reads_it(study: Path) -> None:
    """A page, with models of the seven results."""
    done = frontrunner(study, "report", str(study))
    assert done.returncode == 0, done.stderr
    assert (study / "report" / "report.html").stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.parametrize(("trial", "batch", "job", "index"), [("0010", "0003", 10, 1)])
def test_an_array_in_flight_runs_to_its_result(
    study: Path, trial: str, batch: str, job: int, index: int
) -> None:
    """Requeued by Slurm after the update: the command of its script and its pickle lead to today's code."""
    folder = study / "batches" / batch / "slurm"
    file = folder / f"{job}_{index}_submitted.pkl"
    delayed = pickle.loads(file.read_bytes())
    target, arguments = delayed.args
    delayed.args = (target, [text.replace(MADE_IN, str(study)) for text in arguments])
    delayed.dump(file)
    srun = (folder / f"{job}_submission.sh").read_text(encoding="utf-8").splitlines()[-1]
    repository = str(Path(__file__).parents[1])
    command = srun.replace(MADE_IN, str(study)).replace("/scratch/frontrunner", repository)
    words = shlex.split(command)
    words = [sys.executable, *words[words.index("python") + 1 :]]
    slurm = {"JOB_ID": job, "ARRAY_JOB_ID": job, "ARRAY_TASK_ID": index, "PROCID": 0, "RESTART_COUNT": 1}
    given = {f"SLURM_{name}": str(value) for name, value in slurm.items()}
    environment = os.environ | given | {"SUBMITIT_EXECUTOR": "slurm"}
    subprocess.run(words, cwd=study.parent, env=environment, check=True, capture_output=True, text=True)
    result = TrialResult.read(study / "trials" / trial / "metrics.json")
    assert (result.trial, set(result.metrics) >= {"eval_loss", "train_seconds"}) == (trial, True)
    assert Lease.read(study / "trials" / trial / "lease.json").attempt == 2


@pytest.mark.slow
def test_tune_takes_it_to_its_end(study: Path) -> None:
    """The same command, here on local processes: what was in flight is taken up, all fourteen end once."""
    overrides = [
        *("experiment=none", "trainer=synthetic", "cluster=local", "study.name=before", "budget.trials=14"),
        *("trainer.seconds=12", f"study.root={study.parent}", "report.automatic=false"),
        "cluster.max_parallel=8",
    ]
    done = frontrunner(study, "tune", *overrides)
    assert done.returncode == 0, done.stderr
    completed = [str(event["trial"]) for event in events(study, "trial_completed")]
    assert sorted(completed) == [f"{number:04}" for number in range(14)]
