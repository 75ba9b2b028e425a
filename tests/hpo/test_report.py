"""Reports, tables and snapshots at every stage of a study."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpo.journal import Journal
from hpo.overview import overview
from hpo.paths import StudyPaths
from hpo.records import Progress, append_jsonl
from hpo.report import report, trials_csv
from hpo.snapshot import last_progress, pareto_trials, take
from hpo.status import to_json
from hpo.store import create_study
from hpo.study import Event
from hpo.tables import duration, front_table

BOTH = {
    "eval_loss": {"direction": "min", "threshold": None},
    "accuracy": {"direction": "max", "threshold": None},
}


def make_study(folder: Path, outcomes: list[Any], objectives: dict[str, Any] | None = None) -> StudyPaths:
    """A study whose trials ended as stated: a pair of objective values, a cause, or None for still open.

    Every second trial has a parameter more, as a conditional one.
    """
    paths = StudyPaths(folder / "study")
    created = {"objectives": objectives or BOTH, "settings": {"budget": {"trials": 20}}}
    create_study(paths, {}, {}, created)
    journal = Journal(paths.journal)
    proposals = [
        {
            "trial": f"{n:04d}",
            "number": n,
            "params": {"rank": n, "targets": "<script>"} | ({"momentum": 0.5} if n % 2 else {}),
            "origin": "sobol",
        }
        for n in range(len(outcomes))
    ]
    if proposals:
        journal.record(Event.BATCH_PLANNED, batch="0000", proposals=proposals, retries=[])
    for n, outcome in enumerate(outcomes):
        if isinstance(outcome, tuple):
            metrics = {
                name: {"value": value, "standard_error": 0.1}
                for name, value in zip(objectives or BOTH, outcome, strict=True)
            }
            journal.record(Event.TRIAL_COMPLETED, trial=f"{n:04d}", metrics=metrics)
        elif outcome:
            message = "<script>alert(1)</script>"
            journal.record(Event.TRIAL_FAILED, trial=f"{n:04d}", cause=outcome, message=message)
    return paths


STAGES: dict[str, tuple[list[Any], dict[str, Any] | None]] = {
    "no trial": ([], None),
    "one open": ([None], None),
    "one completed": ([(1.0, 0.5)], None),
    "all failed": (["diverged", "error"], None),
    "mixed": ([(1.0, 0.5), None, "gpu_out_of_memory", (2.0, 0.9)], None),
    "all equal": ([(1.0, 0.5)] * 3, None),
    "one objective": ([(1.0,), (0.5,)], {"eval_loss": BOTH["eval_loss"]}),
    "three objectives": ([(1.0, 0.5, 3.0), (2.0, 0.9, 1.0)], {**BOTH, "time": BOTH["eval_loss"]}),
}


@pytest.mark.parametrize("stage", STAGES)
def test_report_is_made_at_every_stage(stage: str, tmp_path: Path) -> None:
    """Whatever there is so far, a whole page and a table come out, and no text of a trial becomes markup."""
    outcomes, objectives = STAGES[stage]
    paths = make_study(tmp_path, outcomes, objectives)
    assert report(str(paths.folder), tmp_path, Console(file=io.StringIO())) == 0
    page = (paths.report / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    rows = list(csv.DictReader(io.StringIO((paths.report / "trials.csv").read_text())))
    assert [row["trial"] for row in rows] == [f"{n:04d}" for n in range(len(outcomes))]


def test_front_is_hand_worked(tmp_path: Path) -> None:
    """Minimise the loss, maximise the accuracy: 0 and 2 are on the front, 1 is beaten by 0."""
    paths = make_study(tmp_path, [(1.0, 0.5), (1.5, 0.4), (2.0, 0.9), "diverged"])
    snapshot = take(paths)
    assert [trial.id for trial in pareto_trials(snapshot.study, snapshot.objectives)] == ["0000", "0002"]
    flags = [row["on_front"] for row in csv.DictReader(io.StringIO(trials_csv(snapshot)))]
    assert flags == ["1", "0", "1", "0"]


def test_a_parameter_that_a_trial_does_not_have_is_an_empty_cell(tmp_path: Path) -> None:
    """In the table of the front and in the CSV; the first trial has none, the second has 0.5."""
    snapshot = take(make_study(tmp_path, [(1.0, 0.5), (1.5, 0.9)]))
    table = front_table(snapshot.study, snapshot.objectives)
    [column] = [column for column in table.columns if column.header == "momentum"]
    assert list(column.cells) == ["", "0.5"]
    rows = list(csv.DictReader(io.StringIO(trials_csv(snapshot))))
    assert [row["momentum"] for row in rows] == ["", "0.5"]


def test_json_status_can_be_read_by_scripts(tmp_path: Path) -> None:
    """The same facts, as JSON values."""
    told = to_json(take(make_study(tmp_path, [(1.0, 0.5), None, "diverged"])))
    read = json.loads(json.dumps(told))
    assert read["trials"]["completed"] == 1
    assert read["trials"]["queued"] == 1
    assert [trial["trial"] for trial in read["pareto_front"]] == ["0000"]
    assert read["failures"][0]["cause"] == "diverged"


def test_progress_of_a_running_trial_is_shown(tmp_path: Path) -> None:
    """Step, loss and the time left: 10 of 40 steps in 5 s leave 15 s."""
    paths = make_study(tmp_path, [None])
    paths.trial("0000").folder.mkdir()
    log = paths.trial("0000").progress
    for step in (5, 10):
        line = Progress(1, "training", step, 40, loss=2.5, train_seconds=step / 2).to_json()
        append_jsonl(log, line, durable=False)
    with log.open("a") as stream:
        stream.write('{"torn": ')
    running = take(paths).running[0]
    assert running.progress.step == 10
    assert running.seconds_left == 15.0
    console = Console(file=io.StringIO(), width=160)
    console.print(overview(take(paths)))
    assert "10/40" in console.file.getvalue()  # type: ignore[attr-defined]


def test_progress_log_longer_than_the_tail_that_is_read(tmp_path: Path) -> None:
    """The newest record is found without reading the whole file."""
    log = tmp_path / "progress.jsonl"
    for step in range(200):
        append_jsonl(log, Progress(1, "training", step, 200).to_json(), durable=False)
    newest = last_progress(log)
    assert newest is not None
    assert newest.step == 199
    assert last_progress(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0, "0s"), (59.6, "1m00s"), (184, "3m04s"), (3725, "1h02m")]
)
def test_durations(seconds: float | None, text: str) -> None:
    """Short and exact enough to plan a coffee by."""
    assert duration(seconds) == text
