"""What `status` and `tune` show: batches and their tasks, the forecast, and how quickly."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpo.commands.status import to_json
from hpo.display.live_view import PlainView
from hpo.display.overview import overview
from hpo.forecasts.end import forecast_end
from hpo.paths import StudyPaths
from hpo.records import Progress, append_jsonl
from hpo.study.journal import Journal, load_study
from hpo.study.queue_view import QueueFile, QueueView, batch_states, read_queue, seen
from hpo.study.snapshot import Snapshot, running_trials, take
from hpo.study.state import Event, Study, Trial, TrialState
from hpo.study.store import create_study

OBJECTIVES = {
    "eval_loss": {"direction": "min", "threshold": None},
    "train_seconds": {"direction": "min", "threshold": None},
    "hellaswag_acc_norm": {"direction": "max", "threshold": None},
}
BUDGET = {"trials": 2000, "gpu_hours": None, "wall_hours": None}


def view(state: str, detail: str = "", node: str = "") -> Any:
    """A scheduler's word for one task."""
    return {"state": state, "detail": detail, "node": node, "name": "", "ending": ""}


def make_study(folder: Path, trials: int, batch: int = 50) -> tuple[StudyPaths, Journal]:
    """A study through the store and the journal; every batch is planned and submitted as array 1<batch>."""
    paths = StudyPaths(folder / "study")
    created = {"objectives": OBJECTIVES, "settings": {"budget": BUDGET, "batch": {"size": batch}}}
    create_study(paths, {}, {}, created)
    journal = Journal(paths.journal)
    journal.record(Event.CONTROLLER_STARTED, baseline={"eval_loss": 3.0})
    for first in range(0, trials, batch):
        own = f"{first // batch:04d}"
        numbers = range(first, min(first + batch, trials))
        proposals = [
            {
                "trial": f"{number:04d}",
                "number": number,
                "params": {
                    "learning_rate": 1e-5 * (1 + number),
                    "lora_rank": number % 64,
                    "target_modules": "qv",
                },
                "seed": number,
                "origin": "model",
                "note": "",
            }
            for number in numbers
        ]
        journal.record(Event.BATCH_PLANNED, batch=own, proposals=proposals, retries=[], request=None)
        journal.record(Event.BATCH_SUBMITTED, batch=own, job_id=f"1{own}")
    return paths, journal


def complete(journal: Journal, number: int) -> None:
    """A result with everything that a real one's event has."""
    values = (1.0 + (number * 7919 % 1000) / 1000, 9.0 + number * 104729 % 997, (number * 31337 % 983) / 983)
    metrics = {
        name: {"value": value, "standard_error": 0.01} for name, value in zip(OBJECTIVES, values, strict=True)
    }
    trial = f"{number:04d}"
    told = {"attempt": 1, "batch": journal.study.trials[trial].batch, "node": "gpu01", "restart": 0}
    cost = {"seconds": 400.0, "gpus": 1, "useful_seconds": 400.0}
    journal.record(Event.TRIAL_COMPLETED, trial=trial, metrics=metrics, **told, **cost)


def test_batches_are_told_in_the_scheduler_s_words(tmp_path: Path) -> None:
    """Of four tasks one ended, one runs, two wait; a task of another study's array is none of ours."""
    paths, journal = make_study(tmp_path, 4, batch=4)
    complete(journal, 0)
    live = {
        ("10000", 1): view("running", "RUNNING", "gpu03"),
        ("10000", 2): view("pending", "Priority"),
        ("10000", 3): view("pending", "Priority"),
        ("10000", 0): view("over", "COMPLETED", "gpu03"),
        ("77", 0): view("running", "RUNNING", "gpu09"),
    }
    queue = seen(journal.study, live)
    [batch] = batch_states(journal.study, queue)
    assert batch.states == {"completed": 1, "running": 1, "Priority": 2}
    assert batch.nodes == ["gpu03"]
    QueueFile(paths.queue).keep(queue)
    assert read_queue(paths.queue) == queue
    told = to_json(take(paths))
    assert told["batches"][0]["states"] == batch.states
    console = Console(file=io.StringIO(), width=160)
    console.print(overview(take(paths)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 completed, 1 running, 2 Priority" in text
    assert "waiting: 2 (Priority)" in text


def test_a_damaged_queue_file_hides_nothing_else(tmp_path: Path) -> None:
    """The batch is shown as submitted, which the journal knows."""
    paths, _ = make_study(tmp_path, 2, batch=2)
    paths.queue.write_text("{")
    assert to_json(take(paths))["batches"][0]["states"] == {"submitted": 2}


def test_queue_file_is_written_only_when_it_says_something_new(tmp_path: Path) -> None:
    """Two looks at the same queue write it once."""
    file = QueueFile(tmp_path / "queue.json")
    file.keep(QueueView({"0000:0": ["running", "", "n1"]}, at="first"))
    file.keep(QueueView({"0000:0": ["running", "", "n1"]}, at="second"))
    assert read_queue(tmp_path / "queue.json").at == "first"


def aged(ended: int, open_: int, minutes_each: float, budget: dict[str, Any], batch: int = 2) -> Study:
    """A study of trials that ended one after the other, the last one just now."""
    now = datetime.now(UTC)
    study = Study(settings={"budget": budget, "batch": {"size": batch}})
    study.created_at = (now - timedelta(minutes=minutes_each * ended)).isoformat()
    for number in range(ended + open_):
        trial = Trial(f"{number:04d}", number, {}, "sobol", "0000", "")
        if number < ended:
            trial.state = TrialState.COMPLETED
            trial.ended_at = (now - timedelta(minutes=minutes_each * (ended - 1 - number))).isoformat()
        study.trials[trial.id] = trial
    return study


def snapshot(study: Study, folder: Path) -> Snapshot:
    return Snapshot(StudyPaths(folder), study, [], None)


def test_end_is_foretold_from_the_pace(tmp_path: Path) -> None:
    """Four trials took 10 minutes each, one after the other; six of ten are left: an hour."""
    left = forecast_end(snapshot(aged(4, 2, 10.0, {"trials": 10}), tmp_path))
    assert left is not None
    assert left.seconds == pytest.approx(3600, rel=0.01)


def test_a_night_without_a_controller_does_not_slow_the_forecast_down(tmp_path: Path) -> None:
    """Twenty trials of a minute each, but the study was created a day earlier: ten left take ten minutes."""
    study = aged(20, 0, 1.0, {"trials": 30})
    study.created_at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    left = forecast_end(snapshot(study, tmp_path))
    assert left is not None
    assert left.seconds == pytest.approx(600, rel=0.01)


def test_the_budget_that_is_spent_first_counts(tmp_path: Path) -> None:
    """40 minutes of one wall hour are gone: 20 are left, although the trials would take an hour."""
    study = aged(4, 0, 10.0, {"trials": 10, "wall_hours": 1.0})
    left = forecast_end(snapshot(study, tmp_path))
    assert left is not None
    assert left.seconds == pytest.approx(1200, rel=0.01)


@pytest.mark.parametrize("change", [{"finished": "budget"}, {"stopped": "errors"}, {"trials": {}}])
def test_nothing_is_foretold_of_a_study_that_is_over_or_has_no_result(
    change: dict[str, Any], tmp_path: Path
) -> None:
    """No pace, no forecast."""
    study = replace(aged(4, 2, 10.0, {"trials": 10}), **change)
    assert forecast_end(snapshot(study, tmp_path)) is None


def test_plain_view_looks_only_when_it_shows(tmp_path: Path) -> None:
    """The files of running trials are not read at every pass."""
    looks = 0

    def look() -> Snapshot:
        nonlocal looks
        looks += 1
        return snapshot(aged(1, 0, 1.0, {"trials": 2}), tmp_path)

    shown = PlainView(Console(file=io.StringIO()))
    for _ in range(5):
        shown.update(look)
    assert looks == 1


def test_a_low_screen_cuts_the_tables_and_says_so(tmp_path: Path) -> None:
    """40 trials at work on a screen of 24 lines: the picture fits, and tells how many are not shown."""
    paths, journal = make_study(tmp_path, 60, batch=60)
    for number in range(20):
        complete(journal, number)
    for number in range(20, 60):
        folder = paths.trial(f"{number:04d}")
        folder.folder.mkdir()
        append_jsonl(folder.progress, Progress(1, "training", 1, 9).to_json(), durable=False)
    study = load_study(paths.journal)
    console = Console(file=io.StringIO(), width=200)
    console.print(overview(Snapshot(paths, study, running_trials(paths, study), None), 24))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) <= 24
    assert sum("more" in line for line in lines) == 2


def test_status_of_two_thousand_trials_is_quick_and_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processor time and memory of a fresh process; three objectives, 50 trials at work."""
    with monkeypatch.context() as quick:
        quick.setattr(os, "fsync", lambda _: None)
        paths, journal = make_study(tmp_path, 2000)
        for number in range(1950):
            complete(journal, number)
    for number in range(1950, 2000):
        own = paths.trial(f"{number:04d}")
        own.folder.mkdir()
        append_jsonl(own.progress, Progress(1, "training", 1, 9).to_json(), durable=False)
    # asked of the process itself: what the kernel tells its parent counts the parent's memory too
    code = (
        "import os, sys; from hpo.cli import main; main(sys.argv[1:]); "
        "peak = open('/proc/self/status').read().split('VmHWM:')[1].split()[0]; "
        "print(sum(os.times()[:2]), peak, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "status", str(paths.folder), "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(shown.stdout)
    assert told["trials"]["completed"] == 1950
    assert len(told["running"]) == 50
    processor_s, peak_kib = map(float, shown.stderr.split())
    assert processor_s < 1.5  # 0.3 s alone on a machine; more beside other tests
    assert peak_kib < 80 * 1024
