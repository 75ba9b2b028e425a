"""Reports that a controller has made: when, how often, and what becomes of the study where they fail."""

from __future__ import annotations

import io
import time
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_until
from rich.console import Console

from hpo.commands import autoreport
from hpo.commands.autoreport import LIBRARIES, LONGEST_S, NICE, NICE_AT_THE_END, Reports
from hpo.commands.report_process import ReportProcess
from hpo.controller.compose import compose_config
from hpo.controller.config import ReportSettings, read_config
from hpo.errors import StudyError
from hpo.paths import StudyPaths
from hpo.records import read_json
from hpo.study.journal import Journal
from hpo.study.state import Event
from hpo.study.store import create_study

OBJECTIVES = {"loss": {"direction": "min", "threshold": None}}


class Pretended:
    """Processes that end when the test says so; at the end of one there is a page."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.now = 1000.0
        self.at_work = False
        self.result: str | None = None
        self.refusal: OSError | None = None

    def __call__(self, folder: Path, nice: int) -> Pretended:
        if self.refusal:
            raise self.refusal
        assert not self.at_work, "two at a time"
        self.folder, self.at_work, self.result = folder, True, None
        self.started.append(nice)
        return self

    pid = 2**22 + 1  # no process has it

    def finish(self, wrong: str = "") -> None:
        self.at_work, self.result = False, wrong
        if not wrong:
            (self.folder / "report").mkdir(exist_ok=True)
            (self.folder / "report" / "report.html").touch()

    def ended(self) -> str | None:
        return self.result

    def stop(self) -> None:
        self.at_work = False

    kill = stop


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """Processes and a clock in the test's hands."""
    pretended = Pretended()
    monkeypatch.setattr(autoreport, "ReportProcess", pretended)
    return pretended


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Of a study of four trials, none of which has ended."""
    paths = StudyPaths(tmp_path / "mine")
    create_study(paths, {}, {}, {"objectives": OBJECTIVES, "settings": {}})
    journal = Journal(paths.journal)
    proposals = [
        {"trial": f"{n:04d}", "number": n, "params": {"rank": n}, "origin": "sobol"} for n in range(4)
    ]
    journal.record(Event.BATCH_PLANNED, batch="0000", proposals=proposals, retries=[])
    return journal


def complete(journal: Journal, number: int) -> None:
    """One more result."""
    metrics = {"loss": {"value": 1.0 + number, "standard_error": None}}
    journal.record(Event.TRIAL_COMPLETED, trial=f"{number:04d}", metrics=metrics)


def reports_of(
    folder: Path, pretended: Pretended, *, automatic: bool = True, every_s: float | None = 900.0
) -> tuple[Reports, io.StringIO]:
    """Reports of the study, and what is said at the end."""
    out = io.StringIO()
    settings = ReportSettings(automatic=automatic, every_seconds=every_s)
    console = Console(file=out, width=400)
    return Reports(StudyPaths(folder / "mine"), settings, console, lambda: pretended.now), out


def leave(reports: Reports, error: BaseException) -> None:
    """What `tune` does where an error ends it."""
    with pytest.raises(type(error)), reports:
        raise error


def test_made_after_new_results_and_not_too_often(
    journal: Journal, tmp_path: Path, processes: Pretended
) -> None:
    """Nothing without a result; then at once; then 900 s after that began, if there is a new result."""
    reports, _ = reports_of(tmp_path, processes)
    assert reports.look(journal.study) == []
    assert processes.started == []
    complete(journal, 0)
    assert reports.look(journal.study) == []
    assert processes.started == [NICE]
    complete(journal, 1)
    reports.look(journal.study)
    processes.now += 2
    processes.finish()
    assert reports.look(journal.study) == [
        f"report {tmp_path}/mine/report/report.html, made again as results come in"
    ]
    processes.now += 897
    assert reports.look(journal.study) == []
    assert len(processes.started) == 1
    processes.now += 1
    reports.look(journal.study)
    assert len(processes.started) == 2
    processes.finish()
    processes.now += 10_000
    assert reports.look(journal.study) == []  # said once, and no new result
    assert len(processes.started) == 2


def test_a_dear_report_is_made_less_often(journal: Journal, tmp_path: Path, processes: Pretended) -> None:
    """One that took 60 s is not begun again before 6,000 s: a hundredth of one core."""
    reports, _ = reports_of(tmp_path, processes)
    complete(journal, 0)
    reports.look(journal.study)
    processes.now += 60
    processes.finish()
    complete(journal, 1)
    reports.look(journal.study)
    processes.now += 5939
    reports.look(journal.study)
    assert len(processes.started) == 1
    processes.now += 1
    reports.look(journal.study)
    assert len(processes.started) == 2


def test_a_later_controller_knows_of_the_last_one(
    journal: Journal, tmp_path: Path, processes: Pretended
) -> None:
    """Single steps from cron: each is a process of its own, and keeps the pause of the one before."""
    complete(journal, 0)
    first, out = reports_of(tmp_path, processes)
    first.look(journal.study)
    processes.finish()
    first.conclude()
    assert out.getvalue() == ""
    assert read_json(StudyPaths(tmp_path / "mine").reporting)["results"] == 1
    complete(journal, 1)
    processes.now += 899
    reports_of(tmp_path, processes)[0].look(journal.study)
    assert len(processes.started) == 1
    processes.now += 1
    reports_of(tmp_path, processes)[0].look(journal.study)
    assert len(processes.started) == 2


def test_a_failure_is_one_line(journal: Journal, tmp_path: Path, processes: Pretended) -> None:
    """And the next report is made in its time all the same."""
    reports, _ = reports_of(tmp_path, processes)
    complete(journal, 0)
    reports.look(journal.study)
    processes.finish("it ended with code 1: error: disk full")
    warning = "warning: no report was made, the study is not affected: it ended with code 1: error: disk full"
    assert reports.look(journal.study) == [warning]
    assert reports.look(journal.study) == []
    complete(journal, 1)
    processes.now += 900
    reports.look(journal.study)
    assert len(processes.started) == 2


def test_a_process_that_cannot_be_started_is_one_line(
    journal: Journal, tmp_path: Path, processes: Pretended
) -> None:
    """A login node that allows no more processes: told once, tried again in its time."""
    reports, _ = reports_of(tmp_path, processes)
    complete(journal, 0)
    processes.refusal = OSError(11, "Resource temporarily unavailable")
    [line] = reports.look(journal.study)
    assert line.endswith("the study is not affected: Resource temporarily unavailable")
    assert reports.look(journal.study) == []


def test_one_that_does_not_end_is_killed(journal: Journal, tmp_path: Path, processes: Pretended) -> None:
    """After half an hour, without waiting for it."""
    reports, _ = reports_of(tmp_path, processes)
    complete(journal, 0)
    reports.look(journal.study)
    processes.now += LONGEST_S + 1
    [line] = reports.look(journal.study)
    assert "it had not ended after 1800 s, and was killed" in line
    assert not processes.at_work


def test_missing_libraries_are_a_hint_once(
    journal: Journal, tmp_path: Path, processes: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it runs once, and at the end what to install; no process, no error."""
    monkeypatch.setattr(autoreport, "LIBRARIES", ("rich", "no_such_library"))
    reports, out = reports_of(tmp_path, processes)
    complete(journal, 0)
    hint = "it needs no_such_library: pip install 'frontrunner[report]'"
    assert reports.look(journal.study) == [f"no report while the study runs: {hint}"]
    assert reports.look(journal.study) == []
    journal.record(Event.STUDY_FINISHED, reason="done")
    reports.conclude()
    assert out.getvalue() == f"report    not made: {hint}\n"
    assert processes.started == []


@pytest.mark.parametrize("end", [Event.STUDY_FINISHED, Event.STUDY_STOPPED])
def test_the_last_one_takes_the_place_of_one_at_work(
    end: Event, journal: Journal, tmp_path: Path, processes: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end, also where errors have stopped the study: of everything, and its page is named."""
    monkeypatch.setattr(time, "sleep", lambda _: processes.finish())
    complete(journal, 0)
    reports, out = reports_of(tmp_path, processes)
    reports.look(journal.study)
    fields = {"reason": "done"} if end is Event.STUDY_FINISHED else {"message": "three equal errors"}
    journal.record(end, **fields)
    leave(reports, StudyError("stopped"))
    assert processes.started == [NICE, NICE_AT_THE_END]
    assert f"report    {tmp_path}/mine/report/report.html" in out.getvalue().splitlines()


def test_the_last_one_is_made_once(
    journal: Journal, tmp_path: Path, processes: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that finds the study complete makes a report that another could not; then names it."""
    journal.record(Event.STUDY_FINISHED, reason="done")

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        reports_of(tmp_path, processes)[0].conclude()
    assert not processes.at_work
    monkeypatch.setattr(time, "sleep", lambda _: processes.finish())
    for _ in range(2):
        reports, out = reports_of(tmp_path, processes)
        reports.conclude()
        assert out.getvalue().endswith(f"report    {tmp_path}/mine/report/report.html\n")
    assert processes.started == [NICE_AT_THE_END] * 2


def test_in_a_chain_it_gives_way_to_nobody(journal: Journal, tmp_path: Path, processes: Pretended) -> None:
    """The next step waits for the end of this job, whose processor is its own."""
    complete(journal, 0)
    settings = ReportSettings(automatic=True, every_seconds=900)
    paths, console = StudyPaths(tmp_path / "mine"), Console(file=io.StringIO())
    Reports(paths, settings, console, lambda: processes.now, chained=True).look(journal.study)
    assert processes.started == [0]


def test_interrupted_it_is_stopped(journal: Journal, tmp_path: Path, processes: Pretended) -> None:
    """Ctrl-C leaves no process of the controller's behind."""
    complete(journal, 0)
    reports, _ = reports_of(tmp_path, processes)
    reports.look(journal.study)
    leave(reports, KeyboardInterrupt())
    assert processes.started == [NICE]
    assert not processes.at_work


@pytest.mark.parametrize(
    ("settings", "last"),
    [({"automatic": False}, "frontrunner report {}/mine"), ({"every_s": None}, "{}/mine/report/report.html")],
)
def test_switched_off(
    settings: Any,
    last: str,
    journal: Journal,
    tmp_path: Path,
    processes: Pretended,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Altogether, or but for the end."""
    monkeypatch.setattr(time, "sleep", lambda _: processes.finish())
    complete(journal, 0)
    reports, out = reports_of(tmp_path, processes, **settings)
    assert reports.look(journal.study) == []
    assert processes.started == []
    journal.record(Event.STUDY_FINISHED, reason="done")
    reports.conclude()
    assert out.getvalue().splitlines()[-1] == f"report    {last.format(tmp_path)}"


def test_a_configuration_of_an_earlier_version_asks_for_no_report() -> None:
    """A study that it composed can still be proposed for and derived from."""
    raw, _ = compose_config(["cluster=local"], None)
    config, problems = read_config({name: group for name, group in raw.items() if name != "report"})
    assert problems == []
    assert config is not None
    assert config.report == ReportSettings(automatic=False, every_seconds=None)


def test_libraries_are_those_of_the_extra(repository: Path) -> None:
    """What is looked for before a process is started, and what `pip install 'frontrunner[report]'` brings."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extra = {text.split(">")[0].lower() for text in project["optional-dependencies"]["report"]}
    packages = packages_distributions()
    assert {packages[name][0].lower() for name in LIBRARIES} == extra


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ReportProcess]:
    """A real one, of a folder that is no study."""
    started = ReportProcess(tmp_path / "none", 1)
    yield started
    started.stop()


def test_a_process_tells_why_it_failed(process: ReportProcess) -> None:
    """The command's own words and its exit code."""
    wait_until(lambda: process.ended() is not None)
    assert "it ended with code 2: error: no study" in str(process.ended())
