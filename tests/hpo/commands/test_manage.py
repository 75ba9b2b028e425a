"""What `cancel` records where no controller is at work."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from controlled_site import Site
from memory_executor import MemoryExecutor
from rich.console import Console

from hpo.commands import manage
from hpo.study.journal import load_study
from hpo.study.state import TrialState


class Reluctant(MemoryExecutor):
    """Its tasks take a while to end: they are cancelled at the third look."""

    def cancel(self, tasks: Any) -> None:
        self.wanted = list(tasks)
        self.looks = 0

    def poll(self) -> Mapping[tuple[str, int], Any] | None:
        self.looks += 1
        if self.looks == 3:
            super().cancel(self.wanted)
        return super().poll()


def test_a_task_that_is_seen_again_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had been missing and is live: that is no end of it, and its trial is not settled before it ends."""
    site = Site(tmp_path)
    controller = site.controller()
    controller.step()
    site.scheduler.start_all()
    controller.step()  # all four are missing now
    assert len(controller.study.in_flight) == 4
    assert all(trial.missing for trial in controller.study.in_flight)
    site.die()
    executor = Reluctant(site.scheduler)
    for index in range(4):
        site.scheduler.tasks["1", index] = {"state": "running", "arguments": ()}
    monkeypatch.setattr(manage, "_executor", lambda paths: executor)
    monkeypatch.setattr(manage, "POLL_S", 0.0)
    out = io.StringIO()
    assert manage.cancel(str(site.paths.folder), tmp_path, [], Console(file=out, width=200)) == 0
    study = load_study(site.paths.journal)
    assert [trial.state for trial in study.trials.values()] == [TrialState.CANCELLED] * 4
    assert executor.looks >= 3
    assert study.stopped == "cancelled by the user"
