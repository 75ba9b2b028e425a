"""Early stopping on a true Slurm, through a wave of preemptions and a kill of the controller."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from conditions import wait_until
from study_runs import SYNTHETIC, StudyRun

from hpo.records import AttemptRecord, read_jsonl
from hpo.study.state import TrialState
from slurm.devcluster.files import Layout

pytestmark = pytest.mark.slurm

SIXTEEN = [f"{number:04d}" for number in range(16)]
SCHEDULING_S = 15.0  # a pass of Slurm's scheduler and the start of Python, on a busy machine


@pytest.fixture
def run(tmp_path: Path, cluster: Layout) -> StudyRun:
    """Sixteen synthetic trials in arrays of eight on four nodes, of which one in three goes on at a rung."""
    options = [*SYNTHETIC, "cluster=slurm", "cluster.mem_gb=0.25", "controller.poll_seconds=0.5"]
    options += ["budget.trials=16", "batch.size=8", "batch.refill=4", "strategy=sobol", "~strategy.initial"]
    options += ["trainer.seconds=9", "fidelity.stopping=asha", "cluster.max_parallel=4"]
    return StudyRun(tmp_path / "studies", options=options)


def _events(run: StudyRun, kind: str) -> list[str]:
    if not run.paths.journal.exists():
        return []
    return [str(event["trial"]) for event in read_jsonl(run.paths.journal) if event["event"] == kind]


def _spans(run: StudyRun) -> list[tuple[float, float, str]]:
    """Begin, end and way of every attempt, by begin."""
    found = []
    for path in run.paths.trials.glob("*/attempts/*.json"):
        record = AttemptRecord.read(path)
        begin = datetime.fromisoformat(record.started_at).timestamp()
        found.append((begin, begin + record.seconds, record.ended))
    return sorted(found)


def test_nothing_is_lost_or_twice_and_stopped_trials_stay_stopped(run: StudyRun) -> None:
    """Once a trial was stopped: every node is preempted, then the controller killed; the rest goes on."""
    controller = run.start()
    wait_until(lambda: _events(run, "trial_stopped") or controller.poll() is not None, 120)
    urgent = "--partition=urgent --exclusive --nodes=4 --mem=1 --time=1 --output=/dev/null --wrap='sleep 3'"
    subprocess.run(f"sbatch {urgent}", shell=True, check=True, capture_output=True, cwd=run.root)
    wait_until(lambda: "preempted" in run.paths.journal.read_text() or controller.poll() is not None, 120)
    assert controller.poll() is None, controller.communicate()[0]
    controller.kill()
    controller.communicate()
    before = _events(run, "trial_stopped")
    run.finish(timeout_s=400)
    study = run.study
    ended = _events(run, "trial_completed") + _events(run, "trial_stopped")
    assert sorted(ended) == SIXTEEN
    assert set(before) <= {trial.id for trial in study.in_state(TrialState.STOPPED)}
    for trial in study.trials.values():
        files = run.paths.trial(trial.id)
        assert len(files.stops()) + files.metrics.exists() == 1, trial.id
        rungs = [record["rung"] for record in read_jsonl(files.rungs)]
        assert len(rungs) == len(set(rungs)) == len(trial.rungs)
        assert trial.stopping == files.stop.exists()
    ends = [end for _, end, way in _spans(run) if way == "stopped"]
    begins = [begin for begin, _, _ in _spans(run)]
    waits = [min((begin - end for begin in begins if begin > end), default=0.0) for end in ends]
    assert min(waits) < SCHEDULING_S
