"""The reports that `tune` makes by itself: beside its work, one at a time, and one when the study has ended.

The controller starts a process for each and goes on. Whatever becomes of it, the study is not hurt.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import TracebackType

from rich.console import Console

from hpo.commands.report_process import ReportProcess
from hpo.controller.config import ReportSettings
from hpo.errors import StudyError
from hpo.paths import StudyPaths
from hpo.records import Record, RecordError, write_json
from hpo.study.journal import load_study
from hpo.study.lease import process_start
from hpo.study.state import Study, TrialState

LIBRARIES = ("matplotlib", "plotly", "SALib", "sklearn")  # of the extra `report`
NICE, NICE_AT_THE_END = 19, 10  # somebody waits for the last one
SHARE = 0.01  # of one core: a study that is dear to report on is reported on less often
LONGEST_S = 1800.0  # for one report
ELSEWHERE_S = 300.0  # so long one that is made on another host is waited for
LOOK_S = 0.1


@dataclass(frozen=True)
class ReportRecord(Record):
    """reporting.json: the last report that a controller has had made.

    Args:
        of: time of the study's last event.
        results: trials that had completed or failed.
        began_at: seconds since the epoch.
        host: where it is made.
        pid: of the process that makes it.
        process_start: tells that process from a later one with the same pid.
        seconds: how long it took; None until it has ended.
    """

    of: str
    results: int
    began_at: float
    host: str
    pid: int
    process_start: str
    seconds: float | None = None


class Reports:
    """Has a study's reports made; a context, which ends once the last one is there.

    Args:
        settings: whether and how often.
        console: told where the page is.
        clock: seconds since the epoch.
        chained: whether this is a job of its own, whose successor waits for its end: nothing gives way then.
    """

    def __init__(
        self,
        paths: StudyPaths,
        settings: ReportSettings,
        console: Console,
        clock: Callable[[], float] = time.time,
        *,
        chained: bool = False,
    ) -> None:
        self._nice, self._nice_at_the_end = (0, 0) if chained else (NICE, NICE_AT_THE_END)
        self._paths, self._automatic, self._console = paths, settings.automatic, console
        self._every_s = settings.every_seconds if settings.automatic else None
        self._clock = clock
        self._process: ReportProcess | None = None
        self._said = False
        self._last: ReportRecord | None = None
        self._read()

    def __enter__(self) -> Reports:
        self._read()  # what the controller before this one has noted meanwhile
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, StudyError):
            self.conclude()
        else:
            self.stop()

    def look(self, study: Study) -> list[str]:
        """Start a report where one is due, and see what became of the one before; never waits, never raises.

        Args:
            study: as it is now.

        Returns:
            Lines for people.
        """
        wrong = self._collect()
        lines = [_warning(wrong)] if wrong else []
        if wrong == "" and not self._said:
            self._said = True
            lines = [f"report {self._paths.report_page}, made again as results come in"]
        if self._process or not self._due(study):
            return lines
        if missing := missing_libraries():
            self._every_s = None
            return [*lines, f"no report while the study runs: {missing}"]
        if wrong := self._start(study, self._nice):
            lines.append(_warning(wrong))
        return lines

    def conclude(self) -> None:
        """Wait for what is being made; of a study that has ended make the report, and say where it is."""
        try:
            study = load_study(self._paths.journal)
            if not (study.finished or study.stopped):
                if wrong := self._wait():
                    self._say(_warning(wrong))
            elif self._automatic:
                wrong = self._make_last(study)
                self._say(f"report    {f'not made: {wrong}' if wrong else self._paths.report_page}")
            elif study.finished:
                self._say(f"report    frontrunner report {self._paths.folder}")
        except (OSError, RecordError) as error:
            self._say(_warning(str(error)))
        finally:  # Ctrl-C
            self.stop()

    def stop(self) -> None:
        """End the process that makes a report, if there is one."""
        if self._process:
            self._process.stop()
            self._process = None

    def _due(self, study: Study) -> bool:
        if self._every_s is None or study.finished or not study.in_state(TrialState.COMPLETED):
            return False
        last = self._last
        if last is None:
            return True
        since = self._clock() - last.began_at
        pause = max(self._every_s, (last.seconds or 0.0) / SHARE)
        return _results(study) != last.results and not 0 <= since < pause and not self._made_elsewhere()

    def _start(self, study: Study, nice: int) -> str:
        """Start a process; returns what went wrong."""
        began_at, host, pid, wrong = self._clock(), socket.gethostname(), 0, ""
        try:
            self._process = ReportProcess(self._paths.folder, nice)
            pid = self._process.pid
        except OSError as error:
            wrong = f"{error.strerror or error}"
        making = ReportRecord(study.last_at, _results(study), began_at, host, pid, process_start(pid))
        self._note(replace(making, seconds=0.0) if wrong else making)
        return wrong

    def _collect(self) -> str | None:
        """What went wrong with a process that is over, or "" for nothing; None where none is over."""
        if self._process is None or self._last is None:
            return None
        wrong, took = self._process.ended(), self._clock() - self._last.began_at
        if wrong is None and took > LONGEST_S:
            self._process.kill()
            wrong = f"it had not ended after {LONGEST_S:g} s, and was killed"
        if wrong is not None:
            self._process = None
            self._note(replace(self._last, seconds=max(0.0, took)))
        return wrong

    def _wait(self) -> str:
        """Wait for the process that is there, if any; returns what went wrong."""
        wrong = None
        while self._process:
            time.sleep(LOOK_S)
            wrong = self._collect()
        return wrong or ""

    def _make_last(self, study: Study) -> str:
        """Make the report of a study that has ended, if it is not there; returns what went wrong."""
        self.stop()  # it knows less
        while self._made_elsewhere():
            time.sleep(LOOK_S)
            self._read()
        last, page = self._last, self._paths.report_page
        if last and last.of == study.last_at and last.seconds is not None and page.exists():
            return ""
        if missing := missing_libraries():
            return missing
        self._console.print("making the report ...", style="dim", highlight=False)
        return self._start(study, self._nice_at_the_end) or self._wait()

    def _made_elsewhere(self) -> bool:
        """Whether another controller's process is still at it: that of a step before this one."""
        last = self._last
        if self._process or last is None or last.seconds is not None:
            return False
        if last.host == socket.gethostname():
            return process_start(last.pid) == last.process_start != ""
        return 0 <= self._clock() - last.began_at < ELSEWHERE_S

    def _read(self) -> None:
        with suppress(OSError, RecordError):
            self._last = ReportRecord.read(self._paths.reporting)

    def _note(self, making: ReportRecord) -> None:
        self._last = making
        with suppress(OSError):  # then a later controller does not know of it
            write_json(self._paths.reporting, making.to_json())

    def _say(self, *lines: str) -> None:
        for line in lines:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def missing_libraries() -> str:
    """What a report needs and is not installed, with what installs it; "" where nothing is missing."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    return f"it needs {', '.join(missing)}: pip install 'frontrunner[report]'" if missing else ""


def _results(study: Study) -> int:
    return len(study.in_state(TrialState.COMPLETED, TrialState.FAILED))


def _warning(wrong: str) -> str:
    return f"warning: no report was made, the study is not affected: {wrong}"
