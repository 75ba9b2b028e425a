"""Telling somebody that a study has ended: once, and without hurting the study."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_until

from hpo.controller.notify import news, run, tell
from hpo.paths import StudyPaths
from hpo.study.journal import Journal, load_study
from hpo.study.state import Event
from hpo.study.store import create_study

LESS = {"direction": "min", "threshold": None}
OBJECTIVES = {"loss": LESS, "seconds": LESS}
KEEP = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A study of two results and one failure, for half an hour of a card each."""
    paths = StudyPaths(tmp_path / "mine")
    create_study(paths, {}, {}, {"objectives": OBJECTIVES, "settings": {}})
    journal = Journal(paths.journal)
    proposals = [
        {"trial": f"{n:04d}", "number": n, "params": {"rank": n}, "origin": "sobol"} for n in range(3)
    ]
    journal.record(Event.BATCH_PLANNED, batch="0000", retries=[], proposals=proposals)
    for n, row in enumerate([(1.0, 9.0), (2.0, 10.0)]):
        metrics = {own: {"value": v, "standard_error": None} for own, v in zip(OBJECTIVES, row, strict=True)}
        cost = {"attempt": 1, "seconds": 1800.0, "gpus": 1}
        journal.record(Event.TRIAL_COMPLETED, trial=f"{n:04d}", metrics=metrics, **cost)
    journal.record(Event.TRIAL_FAILED, trial="0002", cause="diverged", message="")
    return journal


def told(journal: Journal, folder: Path, command: list[str]) -> list[str]:
    """What was said on the way."""
    said: list[str] = []
    tell(journal, StudyPaths(folder / "mine"), command, 20.0, said.append)
    return said


def received(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def test_the_end_is_told_once_also_by_later_controllers(journal: Journal, tmp_path: Path) -> None:
    """Nothing before the end; then the news; nothing again, from the same controller or from the next one."""
    out = tmp_path / "out"
    command = [*KEEP, str(out)]
    assert told(journal, tmp_path, command) == []
    assert not out.exists()
    journal.record(Event.STUDY_FINISHED, reason="budget.trials=3 is spent")
    assert told(journal, tmp_path, command) == []
    assert told(journal, tmp_path, command) == []
    assert told(Journal(tmp_path / "mine" / "journal.jsonl"), tmp_path, command) == []
    [found] = received(out)
    assert found["event"] == "finished"
    assert found["study"] == "mine"
    assert found["reason"] == "budget.trials=3 is spent"
    assert found["trials"]["completed"] == 2
    assert found["trials"]["failed"] == 1
    assert found["gpu_hours"] == 1.0
    assert found["pareto_front"] == [
        {"trial": "0000", "params": {"rank": 0}, "metrics": {"loss": 1.0, "seconds": 9.0}}
    ]


def test_a_second_end_is_told_too(journal: Journal, tmp_path: Path) -> None:
    """A study that goes on with a larger budget ends again; one stopped by errors is told as such."""
    out = tmp_path / "out"
    journal.record(Event.STUDY_STOPPED, message="3 attempts in a row ended with the same error")
    told(journal, tmp_path, [*KEEP, str(out)])
    journal.record(Event.CONTROLLER_STARTED, baseline={})
    journal.record(Event.STUDY_FINISHED, reason="first")
    told(journal, tmp_path, [*KEEP, str(out)])
    settings = {"objectives": OBJECTIVES, "settings": {}, "identity": {}}
    journal.record(Event.SETTINGS_CHANGED, **settings)
    journal.record(Event.STUDY_FINISHED, reason="second")
    told(journal, tmp_path, [*KEEP, str(out)])
    assert [(one["event"], one["reason"]) for one in received(out)] == [
        ("stopped", "3 attempts in a row ended with the same error"),
        ("finished", "first"),
        ("finished", "second"),
    ]


def test_telling_does_not_lengthen_the_study(journal: Journal, tmp_path: Path) -> None:
    """The time of its last event is that of its end."""
    journal.record(Event.STUDY_FINISHED, reason="done")
    ended = journal.study.last_at
    told(journal, tmp_path, [*KEEP, str(tmp_path / "out")])
    assert load_study(tmp_path / "mine" / "journal.jsonl").last_at == ended


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            [sys.executable, "-c", "import sys; sys.exit('no server')"],
            "ended with code 1: no server",
        ),
        (["/no/such/program"], "No such file or directory"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with code 3: it said nothing"),
    ],
)
def test_a_command_that_fails_is_a_warning_and_is_not_repeated(
    command: list[str], words: str, journal: Journal, tmp_path: Path
) -> None:
    """The study's end stands."""
    journal.record(Event.STUDY_FINISHED, reason="done")
    [warning] = told(journal, tmp_path, command)
    assert "the study is not affected" in warning
    assert words in warning
    assert told(journal, tmp_path, command) == []
    assert journal.study.finished == "done"


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """A shell that waits for another process: both are gone after the time that they have."""
    pid = tmp_path / "pid"
    began = time.monotonic()
    message = run(["sh", "-c", f"sleep 60 & echo $! > {pid}; wait"], "{}", 1.0)
    assert "had not ended after 1 s, and was killed" in message
    assert time.monotonic() - began < 30
    child = Path("/proc") / pid.read_text().strip() / "stat"
    wait_until(lambda: not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z", 30)


def test_a_command_that_does_not_read_does_not_block(tmp_path: Path) -> None:
    """More news than a pipe holds."""
    assert run(["true"], "x" * 10_000_000, 20.0) == ""


def test_news_of_a_study_without_results(tmp_path: Path) -> None:
    """Stopped before anything ended: no front, and no error."""
    paths = StudyPaths(tmp_path / "empty")
    create_study(paths, {}, {}, {"objectives": OBJECTIVES, "settings": {}})
    journal = Journal(paths.journal)
    journal.record(Event.STUDY_STOPPED, message="no")
    found = json.loads(json.dumps(news(journal, paths)))
    assert found["pareto_front"] == []
    assert found["event"] == "stopped"
