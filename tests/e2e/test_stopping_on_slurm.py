"""Early stopping on a true Slurm, through a wave of preemptions and a kill of the controller."""

from __future__ import annotations

import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import SYNTHETIC, StudyRun
from tiny_study import tiny_study

from hpo.records import AttemptRecord, read_jsonl
from hpo.study.state import TrialState
from slurm.devcluster.files import Layout

pytestmark = [pytest.mark.slurm, pytest.mark.long(300)]

KNOWN_S = 6.0
WAVES = 8  # of preemptions, until one meets a trial at work
SCHEDULING_S = 15.0  # a pass of Slurm's scheduler and the start of Python, on a busy machine


def _synthetic(stopping: str) -> list[str]:
    """Two dozen trials in arrays of eight on four nodes, some of which end at a rung."""
    options = [*SYNTHETIC, "cluster.mem_gb=0.25", "controller.poll_seconds=0.5", "trainer.seconds=30"]
    options += ["budget.trials=24", "batch.size=8", "batch.refill=4", "strategy=sobol", "~strategy.initial"]
    return [*options, f"fidelity.stopping={stopping}", "fidelity.risk=1", "cluster.max_parallel=4"]


def _real(folder: Path) -> list[str]:
    """Eight QLoRA trials, two at once."""
    options = [*tiny_study(folder), "trainer.max_steps=1500", "budget.trials=8", "batch.size=4"]
    return [*options, "batch.refill=2", "fidelity.stopping=asha", "strategy=sobol", "cluster.max_parallel=2"]


# Trials so long that a preemption, for which Slurm may take ten seconds, meets some of them at work.
@pytest.fixture(params=["asha", "gain", "real trials"])
def run(tmp_path: Path, cluster: Layout, request: pytest.FixtureRequest) -> StudyRun:
    """A study that stops trials early."""
    own = _real(tmp_path) if request.param == "real trials" else _synthetic(request.param)
    return StudyRun(tmp_path / "studies", options=[*own, "cluster=slurm"])


def _events(run: StudyRun, kind: str) -> list[str]:
    if not run.paths.journal.exists():
        return []
    return [str(event["trial"]) for event in read_jsonl(run.paths.journal) if event["event"] == kind]


def _at_work(run: StudyRun) -> bool:
    """Whether a trial has just begun its steps: one that is about to end leaves its node to an urgent job."""
    files = [run.paths.trial(path.name) for path in run.paths.trials.iterdir()]
    going_on = [own for own in files if not (own.stop.exists() or own.metrics.exists() or own.rungs.exists())]
    return any(read_jsonl(own.progress) for own in going_on)


def _preempted(run: StudyRun) -> bool:
    """Whether the controller knows of a preemption, for which it has some seconds."""
    deadline = time.monotonic() + KNOWN_S
    while not (told := "preempted" in run.paths.journal.read_text()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return told


def _preempt_every_node(run: StudyRun) -> None:
    """By one urgent job of all nodes: several jobs of one would go to those that are free, or come free."""
    urgent = "--wait --partition=urgent --exclusive --nodes=4 --mem=1 --time=1 --output=/dev/null --wrap=true"
    command = ["sbatch", *urgent.split()]
    subprocess.run(command, check=True, capture_output=True, cwd=run.root, timeout=PATIENCE_S)


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
    wait_until(lambda: _events(run, "trial_stopped") or controller.poll() is not None)
    waves = 0
    while waves < WAVES and controller.poll() is None and not (waves and _preempted(run)):
        wait_until(lambda: _at_work(run) or controller.poll() is not None)
        _preempt_every_node(run)
        waves += 1
    assert _preempted(run)
    assert controller.poll() is None, controller.communicate()[0]
    controller.kill()
    controller.communicate()
    before = _events(run, "trial_stopped")
    run.finish()
    study = run.study
    ended = _events(run, "trial_completed") + _events(run, "trial_stopped")
    assert sorted(ended) == sorted(study.trials)
    assert len(ended) == study.settings["budget"]["trials"]
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
