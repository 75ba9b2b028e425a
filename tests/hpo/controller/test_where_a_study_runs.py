"""A study stays with the executor that it was begun with, and is not begun where the scheduler is silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from controlled_site import Site
from memory_executor import MemoryExecutor, Scheduler

from hpo.cli import main
from hpo.commands.derived import source
from hpo.commands.manage import _executor
from hpo.controller.assembly import executor_of
from hpo.paths import StudyPaths
from hpo.study.journal import Journal
from hpo.study.state import Event
from hpo.study.trust import TRUST


def build(executor: str | None = None, **settings: Any) -> MemoryExecutor:
    """A builder that chooses by what it sees, unless it is told."""
    return MemoryExecutor(Scheduler(), name=executor or "seen today")


RAW = {"cluster": {"_target_": f"{__name__}.build"}, "trainer": {}}


def _begin(folder: Path, executor: str, **more: Any) -> StudyPaths:
    site = Site(folder)
    settings = {"executor": executor, **more}
    Journal(site.paths.journal).record(Event.SETTINGS_CHANGED, objectives={}, identity={}, settings=settings)
    return site.paths


def test_the_builder_is_told_with_what_the_study_was_begun(tmp_path: Path) -> None:
    """The study's own journal comes before that of the study which it is made out of."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    own, source = _begin(tmp_path / "a", "first"), _begin(tmp_path / "b", "second")
    missing = StudyPaths(tmp_path / "none")
    assert executor_of(RAW).name == "seen today"
    assert executor_of(RAW, [missing]).name == "seen today"
    assert executor_of(RAW, [own, source]).name == "first"
    assert executor_of(RAW, [missing, source]).name == "second"


def test_commands_go_to_where_the_study_is_by_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cancel` and its like take the cluster of the journal, not the one with which the study was made."""
    monkeypatch.setenv(TRUST, RAW["cluster"]["_target_"])
    paths = _begin(tmp_path, "moved", cluster=RAW["cluster"])
    paths.configuration.write_text("config: {cluster: {_target_: nowhere.at_all}, trainer: {}}")
    assert _executor(paths).name == "moved"


def test_what_is_made_out_of_an_older_study_has_the_keys_of_today(tmp_path: Path) -> None:
    """Its cluster was composed before there were all of them."""
    paths = _begin(tmp_path, "slurm", cluster={"_target_": "t", "mem_gb": 3})
    paths.configuration.write_text("config: {cluster: {_target_: t}, study: {}}")
    cluster = source(str(paths.folder), tmp_path).raw["cluster"]
    assert (cluster["mem_gb"], cluster["on_scancel"], cluster["helper"]["cpus"]) == (3, "forget", 2)


def test_no_study_is_begun_while_the_scheduler_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slurm is installed here and its controller is away: nothing is written, and nothing runs here."""
    for name in ("srun", "sbatch", "scontrol"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'Slurmctld(primary) at c1 is DOWN'; exit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    root = tmp_path / "studies"
    assert main(["tune", "trainer=synthetic", f"study.root={root}", "study.name=new"]) == 1
    said = capsys.readouterr().err
    assert "the scheduler does not answer, so study new was not begun" in said
    assert "c1 is DOWN" in said
    assert not root.exists()
