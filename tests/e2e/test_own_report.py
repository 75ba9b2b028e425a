"""The report that `tune` makes by itself, in whole studies on the local executor."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import SYNTHETIC, StudyRun

from hpo.commands.autoreport import NICE, ReportRecord
from hpo.records import RecordError

pytestmark = [pytest.mark.slow, pytest.mark.long(300)]

LATE_S = 3 * PATIENCE_S  # reports of the lowest priority come when the other tests leave them a core


@pytest.fixture
def run(tmp_path: Path) -> StudyRun:
    """A study of six synthetic trials, two at a time."""
    options = [*SYNTHETIC, "cluster=local", "strategy=sobol", "~strategy.initial", "trainer.seconds=0.5"]
    size = ["budget.trials=6", "batch.size=2", "batch.refill=2", "controller.poll_seconds=0.1"]
    return StudyRun(tmp_path / "studies", options=[*options, *size], reports=True)


def _making(run: StudyRun) -> ReportRecord | None:
    try:
        return ReportRecord.read(run.paths.reporting)
    except (FileNotFoundError, RecordError):
        return None


def test_page_while_it_runs_and_at_the_end(run: StudyRun) -> None:
    """A process of the lowest priority; trials go on beside it; the end names the page, which knows all."""
    run.options = [*run.options, "trainer.seconds=3"]
    controller = run.start("report.every_seconds=1")
    wait_until(lambda: _making(run) is not None or controller.poll() is not None)
    first = _making(run)
    assert first is not None
    wait_until(lambda: os.getpriority(os.PRIO_PROCESS, first.pid) == NICE)
    assert os.getsid(first.pid) == first.pid != os.getsid(controller.pid)
    if (shares := Path(f"/proc/{first.pid}/autogroup")).exists():  # nice values count only within one
        wait_until(lambda: shares.read_text().rstrip().endswith(f" nice {NICE}"))
    output, _ = controller.communicate(timeout=LATE_S)
    assert controller.returncode == 0, output
    assert output.splitlines()[-1] == f"report    {run.paths.report_page}"
    assert "warning" not in output
    last = _making(run)
    assert last is not None
    assert last.results == 6
    assert last.seconds is not None
    assert "complete: budget.trials=6 is spent" in run.paths.report_page.read_text()
    before = run.paths.report_page.stat().st_mtime_ns
    again = run.finish(timeout_s=LATE_S)
    assert again.splitlines()[-1] == f"report    {run.paths.report_page}"
    assert run.paths.report_page.stat().st_mtime_ns == before


def test_failure_is_a_line_and_the_study_ends_well(run: StudyRun) -> None:
    """Something else stands where the report's folder has to be."""
    run.finish("budget.trials=1", "report.automatic=false")
    run.paths.report.write_text("not a folder")
    output = run.finish(timeout_s=LATE_S)
    assert "6 trials completed" in output
    told = [line for line in output.splitlines() if "report" in line and "making" not in line]
    assert [line for line in told if "File exists" not in line] == []
    assert told[-1].startswith("report    not made: it ended with code 1: error: ")


def test_steps_wait_for_their_report_without_the_lease(run: StudyRun) -> None:
    """A step that began a report ends with it; another step can go on meanwhile."""
    while not (run.paths.journal.exists() and run.completed()):
        assert run.run(*run.command("step", "report.automatic=false")[3:]).returncode == 0
    step = subprocess.Popen(run.command("step"), stdout=subprocess.PIPE, text=True, env=run._env())
    wait_until(lambda: _making(run) is not None or step.poll() is not None)
    wait_until(lambda: not run.paths.controller.exists())
    assert step.poll() is None
    assert run.run(*run.command("step")[3:], timeout_s=LATE_S).returncode == 0
    step.communicate(timeout=LATE_S)
    assert step.returncode == 0
    assert run.paths.report_page.exists()
