"""A way out of every damaged file of a study: what is lost is taken from the rest, or said in one message."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from controlled_site import Site
from tiers import quick

from hpo.cli import main
from hpo.controller.submission import array_name
from hpo.errors import InputError
from hpo.evaluation.parts import read_parts
from hpo.paths import StudyPaths
from hpo.records import BatchRecord, Metric, RecordError, TrialSpec, read_json
from hpo.study.journal import load_study
from hpo.study.lease import DAMAGED_S, HeldLease
from hpo.study.state import Study, Trial, TrialState
from hpo.study.store import find_study

OVERRIDES = [
    *("cluster=local", "trainer=synthetic", "trainer.seconds=0.05", "trainer.sigma=0"),
    *("budget.trials=3", "batch.size=2", "batch.refill=1", "study.name=mine"),
    *("controller.look_seconds=0.1", "controller.poll_seconds=0.1", "report.automatic=false"),
]
TORN = '{"schema_version": 1, "tr'

Damage = Callable[[StudyPaths], None]


def torn(name: str) -> Damage:
    """A file that ends in the middle, some time ago."""

    def damage(paths: StudyPaths) -> None:
        (paths.folder / name).write_text(TORN)
        long_ago = time.time() - DAMAGED_S
        os.utime(paths.folder / name, (long_ago, long_ago))

    return damage


def missing(name: str) -> Damage:
    """A file that is gone."""
    return lambda paths: (paths.folder / name).unlink()


def emptied(name: str) -> Damage:
    """A file of which nothing is left."""
    return lambda paths: os.truncate(paths.folder / name, 0)


def torn_line(number: int) -> Damage:
    """A line of the journal that is none."""

    def damage(paths: StudyPaths) -> None:
        lines = paths.journal.read_text().splitlines()
        lines[number] = lines[number][:20]
        paths.journal.write_text("\n".join(lines) + "\n")

    return damage


def all_of(*damages: Damage) -> Damage:
    """Several at once."""

    def damage(paths: StudyPaths) -> None:
        for one in damages:
            one(paths)

    return damage


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three trials that has come to its end."""
    root = tmp_path_factory.mktemp("studies")
    assert tune(root) == 0
    return root / "mine"


@pytest.fixture
def study(made: Path, tmp_path: Path) -> StudyPaths:
    """A copy of it, to be damaged."""
    return StudyPaths(Path(shutil.copytree(made, tmp_path / "mine")))


def tune(root: Path) -> int:
    """The command of the study, wherever its folder is."""
    return main(["tune", *OVERRIDES, f"study.root={root}"])


def executions(paths: StudyPaths) -> dict[str, int]:
    """How often each trial was run."""
    return {path.name: len(list((path / "attempts").glob("*.json"))) for path in paths.trials.iterdir()}


DAMAGES: Mapping[str, tuple[Damage, bool]] = {  # and whether `doctor` is needed before `tune` goes on
    "batch record torn": (torn("batches/0000/batch.json"), False),
    "batch record missing": (missing("batches/0000/batch.json"), False),
    "lease of the controller torn": (torn("controller.json"), False),
    "queue torn": (torn("queue.json"), False),
    "reporting torn": (torn("reporting.json"), False),
    "configuration torn": (torn("study.yaml"), False),
    "configuration missing": (missing("study.yaml"), False),
    "spec torn": (torn("trials/0001/spec.json"), False),
    "lease of a trial torn": (torn("trials/0001/lease.json"), False),
    "journal emptied": (emptied("journal.jsonl"), True),
    "journal missing": (missing("journal.jsonl"), True),
    "first line of the journal torn": (torn_line(0), True),
    "line of the journal torn": (torn_line(3), True),
    "journal emptied and a batch record torn": (
        all_of(emptied("journal.jsonl"), torn("batches/0000/batch.json")),
        True,
    ),
}


@pytest.mark.parametrize("name", quick(DAMAGES, list(DAMAGES)[::3]))
def test_the_same_command_goes_on(name: str, study: StudyPaths, capsys: pytest.CaptureFixture[str]) -> None:
    """After `doctor` where that is needed, and it is said; nothing runs twice, and all results are there."""
    before = executions(study)
    damage, needs_doctor = DAMAGES[name]
    damage(study)
    if needs_doctor:
        assert main(["status", str(study.folder)]) != 0
        assert "`frontrunner doctor" in capsys.readouterr().err
        assert main(["doctor", str(study.folder)]) == 0
        assert "rebuilt from" in capsys.readouterr().out
    assert tune(study.folder.parent) == 0
    told = load_study(study.journal)
    assert [trial.state for trial in told.trials.values()] == [TrialState.COMPLETED] * 3
    assert told.finished
    assert executions(study) == before
    for command in ("status", "export", "doctor"):
        assert main([command, str(study.folder)]) in (0, 1)
    assert main(["doctor", str(study.folder)]) == 0


@pytest.mark.parametrize("name", DAMAGES)
def test_doctor_mends_or_says_what_does(
    name: str, study: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time nothing is left to be mended, but by `tune`, which is said."""
    DAMAGES[name][0](study)
    assert main(["doctor", str(study.folder)]) == 0
    capsys.readouterr()
    assert main(["doctor", str(study.folder)]) == 0
    left = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("warn", "fail"))]
    assert all("`tune`" in line and "study.yaml" in line for line in left)
    assert len(left) == ("configuration" in name)


def test_a_rebuilt_journal_knows_what_the_old_one_knew(study: StudyPaths) -> None:
    """Name, mark, identity, parameters and results."""
    old = load_study(study.journal)
    emptied("journal.jsonl")(study)
    assert main(["doctor", str(study.folder)]) == 0
    assert tune(study.folder.parent) == 0
    new = load_study(study.journal)
    assert (new.name, new.uid, new.identity, new.objectives) == (
        old.name,
        old.uid,
        old.identity,
        old.objectives,
    )
    assert {name: trial.params for name, trial in new.trials.items()} == {
        name: trial.params for name, trial in old.trials.items()
    }
    assert {name: trial.metrics for name, trial in new.trials.items()} == {
        name: trial.metrics for name, trial in old.trials.items()
    }
    assert len(new.ends) == len(old.ends)
    assert list(study.folder.glob("journal.jsonl.damaged-*"))


def test_a_spec_is_made_again_as_it_was(study: StudyPaths) -> None:
    """Its parameters are in the journal, its seed follows from its number."""
    path = study.trial("0002").spec
    old = TrialSpec.read(path)
    torn("trials/0002/spec.json")(study)
    assert main(["doctor", str(study.folder)]) == 0
    assert TrialSpec.read(path) == old


def test_a_journal_that_cannot_be_rebuilt_is_left(
    study: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message names both files, and what there is of results stays where it is."""
    torn("trials/0001/spec.json")(study)
    emptied("journal.jsonl")(study)
    assert main(["doctor", str(study.folder)]) == 1
    said = capsys.readouterr().out
    assert "journal.jsonl" in said
    assert "trials/0001/spec.json" in said
    assert not list(study.folder.glob("journal.jsonl.damaged-*"))


def test_stopping_needs_no_configuration(study: StudyPaths) -> None:
    """The journal has the settings of the cluster."""
    torn("study.yaml")(study)
    for command in ("cancel", "pause", "resume"):
        assert main([command, str(study.folder)]) == 0


def test_a_study_without_a_journal_is_found_by_doctor_alone(study: StudyPaths) -> None:
    """Every other command says so."""
    missing("journal.jsonl")(study)
    with pytest.raises(InputError, match=r"journal\.jsonl: there is no such file") as caught:
        find_study(str(study.folder), Path())
    assert "doctor" in caught.value.hint


def test_a_torn_record_of_an_array_in_flight_is_rebuilt(tmp_path: Path) -> None:
    """Its tasks do nothing without one: the next controller writes it before anything else."""
    site = Site(tmp_path)
    site.controller().step()
    record = site.paths.batch("0000").record
    record.write_text(TORN)
    site.die()
    controller = site.controller()
    controller.adopt()
    mended = BatchRecord.read(record)
    assert (mended.job_id, mended.trials) == ("1", ["0000", "0001", "0002", "0003"])
    assert mended.name == array_name(controller.study, "0000")
    site.run_all()
    controller.step()
    assert [trial.state for trial in controller.study.trials.values()][:4] == [TrialState.COMPLETED] * 4


def test_a_torn_record_of_an_array_that_nobody_knows_is_submitted_anew(tmp_path: Path) -> None:
    """The controller died before the journal had the array: it is held, and is swept away."""
    site = Site(tmp_path)
    controller = site.controller()
    controller.step()
    journal = site.paths.journal.read_text().splitlines()
    known = [line for line in journal if json.loads(line)["event"] != "batch_submitted"]
    site.paths.journal.write_text("\n".join(known) + "\n")
    for task in site.scheduler.tasks.values():
        task["state"] = "held"
    site.paths.batch("0000").record.write_text(TORN)
    site.die()
    again = site.controller()
    again.adopt()
    again.step()
    assert {job for job, _ in site.scheduler.tasks} == {"2"}
    assert BatchRecord.read(site.paths.batch("0000").record).job_id == "2"
    assert list(site.paths.batch("0000").folder.glob("batch.json.damaged-*"))


def test_a_lease_that_was_just_torn_may_be_a_living_controllers(tmp_path: Path) -> None:
    """Who has it writes it anew with its next pass; until that can be told, nobody else drives."""
    path = tmp_path / "controller.json"
    with HeldLease(path) as lease:
        path.write_text(TORN)
        with pytest.raises(InputError, match="a controller may be at work"):
            HeldLease(path)
        lease.renew()
        assert read_json(path)["token"] == lease.record.token


def test_a_lease_that_was_torn_long_ago_is_nobodys(tmp_path: Path) -> None:
    """It is kept under another name."""
    path = tmp_path / "controller.json"
    path.write_text(TORN)
    os.utime(path, (0, 0))
    with HeldLease(path):
        pass
    assert [entry.name.partition("-")[0] for entry in tmp_path.iterdir()] == ["controller.json.damaged"]


@pytest.mark.parametrize("name", ["metrics.json", "documents.json", "spec.json"])
def test_a_torn_part_of_an_evaluation_is_left_out_of_the_table(name: str, tmp_path: Path) -> None:
    """The others are shown, and what the journal has of this one."""
    paths = StudyPaths(tmp_path)
    trial = Trial("0000", 0, {"subject": "0001", "base": "4bit"}, "given", "0000", "")
    trial.state, trial.metrics = TrialState.COMPLETED, {"acc": Metric(0.5)}
    source = Study(trials={"0001": Trial("0001", 1, {"x": 1}, "sobol", "0000", "")})
    paths.trial("0000").folder.mkdir(parents=True)
    (paths.trial("0000").folder / name).write_text(TORN)
    told, [part] = read_parts(paths, Study(trials={"0000": trial}), source, {})
    assert (told, part.documents, part.reference) == ([], {}, None)
    assert (part.subject, part.metrics) == ("0001", {"acc": Metric(0.5)})


def test_an_empty_journal_is_no_study(tmp_path: Path) -> None:
    """What is told names the file."""
    path = tmp_path / "journal.jsonl"
    path.touch()
    with pytest.raises(RecordError, match=r"journal\.jsonl: expected the events of a study"):
        load_study(path)
