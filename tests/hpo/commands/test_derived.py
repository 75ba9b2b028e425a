"""What `train` and `evaluate` make of a study, and what they refuse; nothing is run."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from memory_executor import MemoryExecutor, Scheduler
from rich.console import Console

from hpo.cli import main
from hpo.commands import derived
from hpo.commands.derived import source
from hpo.commands.evaluate import EvaluationRequest, evaluate
from hpo.commands.train import TrainRequest, train
from hpo.commands.tune import configured
from hpo.controller.assembly import Assembly, assemble
from hpo.controller.compose import compose_config, override_config
from hpo.controller.given_trials import GivenTrial, GivenTrials
from hpo.errors import InputError
from hpo.paths import StudyPaths
from hpo.records import Metric, TrialSpec, write_json
from hpo.study.journal import Journal
from hpo.study.state import Event, Study
from hpo.study.store import create_study
from hpo.tracking import TrackingSettings

TASK = "task: own\noutput_type: multiple_choice\n"
Calls = list[tuple[Assembly, Study]]


@pytest.fixture
def study(made: Path, tmp_path: Path) -> StudyPaths:
    """A study of three trials: 0000 is completed, with an adapter; 0001 failed, 0002 is under way."""
    return StudyPaths(Path(shutil.copytree(made, tmp_path / "mine")))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `study`: made once."""
    overrides = [
        f"study.root={tmp_path_factory.mktemp('studies')}",
        "study.name=mine",
        "cluster=local",
        "trainer.max_steps=6",
    ]
    parts = assemble(*compose_config(overrides))
    paths = parts.paths
    create_study(paths, parts.raw, parts.identity, {**configured(parts), "earlier": {}})
    journal = Journal(paths.journal)
    proposals = parts.proposer().propose(journal.study, 3)
    for proposed in proposals:
        paths.trial(proposed.spec.trial).folder.mkdir()
        write_json(paths.trial(proposed.spec.trial).spec, proposed.spec.to_json())
    events = [proposed.to_event() for proposed in proposals]
    journal.record(Event.BATCH_PLANNED, batch="0000", proposals=events, retries=[], request=None)
    metrics = {"eval_loss": asdict(Metric(1.0)), "train_seconds": asdict(Metric(2.0))}
    spent: dict[str, Any] = {"attempt": 1, "node": "n", "restart": 0, "seconds": 1.0, "gpus": 0}
    spent |= {"useful_seconds": 1.0}
    journal.record(Event.TRIAL_COMPLETED, trial="0000", batch="0000", metrics=metrics, **spent)
    journal.record(Event.TRIAL_FAILED, trial="0001", cause="error", message="broken")
    paths.trial("0000").adapter.mkdir()
    (paths.trial("0000").adapter / "adapter_config.json").write_text("{}")
    return paths.folder


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Assembly]:
    """What would have been driven."""
    found: list[Assembly] = []

    def run(parts: Assembly, *rest: object) -> int:
        found.append(parts)
        return 0

    monkeypatch.setattr("hpo.commands.train.run", run)
    monkeypatch.setattr("hpo.commands.evaluate.run", run)
    return found


def trained(study: StudyPaths, wanted: TrainRequest, *overrides: str) -> int:
    """Run `train`."""
    return train(str(study.folder), Path(), wanted, overrides, None, Console(file=StringIO()))


def evaluated(study: StudyPaths, choice: EvaluationRequest, *overrides: str) -> int:
    """Run `evaluate` on a task of the user's own."""
    tasks = study.folder / "tasks"
    tasks.mkdir(exist_ok=True)
    (tasks / "own.yaml").write_text(TASK)
    given = [f"evaluation.tasks.folder={tasks}", *overrides]
    return evaluate(str(study.folder), Path(), choice, given, None, Console(file=StringIO()))


def test_training_has_the_trials_recipe_with_the_overrides_on_top(
    study: StudyPaths, ran: list[Assembly]
) -> None:
    """Parameters as the trial had them but for those overridden; the same seed, a folder beside the study."""
    assert trained(study, TrainRequest("0000"), "trainer.max_steps=600", "trainer.lora_rank=64") == 0
    [parts], spec = ran, TrialSpec.read(study.trial("0000").spec)
    assert parts.paths.folder == study.folder.parent / "mine-train-0000"
    assert parts.given is not None
    [one] = parts.given.trials
    assert one.seed == spec.seed
    assert one.params == {**spec.params, "lora_rank": 64}
    assert one.recipe == {
        **spec.recipe,
        "trainer": {**spec.recipe["trainer"], "max_steps": 600, "lora_rank": 64},
    }
    assert one.adapter is None
    assert (parts.limits.trials, parts.target) == (1, "jobs.run_trial:main")


def test_training_from_the_adapter_keeps_its_shape(study: StudyPaths, ran: list[Assembly]) -> None:
    """The weights are named in the spec; a changed rank is refused by its key, longer training is not."""
    assert trained(study, TrainRequest("0000", from_adapter=True), "trainer.max_steps=9") == 0
    assert ran[0].given is not None
    assert ran[0].given.trials[0].adapter == str(study.trial("0000").adapter)
    with pytest.raises(InputError, match=r"trainer\.lora_rank: the adapter was trained with \d+, got 3"):
        trained(study, TrainRequest("0000", from_adapter=True), "trainer.lora_rank=3")


def test_evaluation_has_a_part_for_each_subject_and_base(study: StudyPaths, ran: list[Assembly]) -> None:
    """The untuned model and the front, on both bases; the name tells tasks and limit, whatever the bases."""
    evaluated(study, EvaluationRequest(bases="16bit,4bit"), "evaluation.tasks.limit=7")
    evaluated(study, EvaluationRequest(trials="0000"), "evaluation.tasks.limit=7")
    both, one = ran
    assert both.given is not None
    assert one.given is not None
    parts = [(part.params["subject"], part.params["base"], part.adapter) for part in both.given.trials]
    adapter = str(study.trial("0000").adapter)
    assert parts == [
        ("untuned", "4bit", None),
        ("0000", "4bit", adapter),
        ("untuned", "16bit", None),
        ("0000", "16bit", adapter),
    ]
    assert [part.recipe["judged"]["base"] for part in one.given.trials] == ["4bit", "4bit"]
    assert both.paths.folder == one.paths.folder
    assert both.paths.name.startswith("own-7-")
    assert (both.limits.trials, both.limits.batch_size, one.limits.trials) == (4, 4, 2)


def test_parts_that_are_there_are_not_given_again(tmp_path: Path) -> None:
    """Of three given parts, one is in the study: the other two get the next numbers."""
    given = GivenTrials([GivenTrial({"n": n}, {"trainer": {}}, seed=n) for n in range(3)], "t:m", {})
    proposer, study = given.proposer(["loss"], "/cache", TrackingSettings()), Study(name="e")
    first = proposer.propose(study, 1)
    assert not proposer.exhausted
    study.trials["0000"] = type("Told", (), {"params": {"n": 0}})()
    rest = proposer.propose(study, 9)
    assert [(one.spec.trial, one.spec.seed) for one in (*first, *rest)] == [
        ("0000", 0),
        ("0001", 1),
        ("0002", 2),
    ]
    assert proposer.exhausted


REFUSED = {
    "unknown trial": (
        TrainRequest("0009"),
        [],
        r"no trial '0009' in study mine: expected a completed one: 0000",
    ),
    "failed trial": (TrainRequest("0001"), [], r"trial 0001 is failed"),
    "trial under way": (TrainRequest("0002"), [], r"trial 0002 is not finished"),
    "key of the search": (
        TrainRequest("0000"),
        ["budget.trials=9"],
        r"budget\.trials: cannot be changed here",
    ),
    "unknown key": (
        TrainRequest("0000"),
        ["trainer.max_stpes=9"],
        r"max_stpes: there is no such key.*max_steps",
    ),
    "bad value": (
        TrainRequest("0000"),
        ["trainer.max_steps=-1"],
        r"trainer\.max_steps: got -1, expected at least 1",
    ),
    "recipe of merged weights": (
        TrainRequest("0000", merge_only=True),
        ["trainer.max_steps=9"],
        "cannot be changed",
    ),
    "another kind": (
        TrainRequest("0000", merge=True),
        ["trainer=synthetic"],
        r"expected trials that leave an adapter",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_training_refuses_what_cannot_be(case: str, study: StudyPaths, ran: list[Assembly]) -> None:
    """One message that names what is expected, before anything is made."""
    wanted, overrides, words = REFUSED[case]
    with pytest.raises(InputError, match=words):
        trained(study, wanted, *overrides)
    assert ran == []


def test_evaluation_refuses_what_cannot_be(study: StudyPaths, ran: list[Assembly]) -> None:
    """An unknown base, an unknown trial, one without an adapter, a study without a front."""
    with pytest.raises(InputError, match="--bases: expected some of 4bit, 16bit, got 8bit"):
        evaluated(study, EvaluationRequest(bases="8bit"))
    with pytest.raises(InputError, match="--trials: no trial '0007'"):
        evaluated(study, EvaluationRequest(trials="0000,0007"))
    (study.trial("0000").adapter / "adapter_config.json").unlink()
    with pytest.raises(InputError, match=r"trial 0000 of study mine has no adapter: expected .*_config"):
        evaluated(study, EvaluationRequest())
    lines = study.journal.read_text().splitlines(keepends=True)
    study.journal.write_text("".join(line for line in lines if "trial_completed" not in line))
    with pytest.raises(InputError, match="has no front yet: expected a completed trial"):
        evaluated(study, EvaluationRequest())
    assert ran == []


def test_overrides_may_stand_anywhere(study: StudyPaths, capsys: pytest.CaptureFixture[str]) -> None:
    """Before and after options; an unknown option is still refused."""
    code = main(["train", str(study.folder), "nope.x=1", "--trial", "0000", "trainer.max_steps=0"])
    error = capsys.readouterr().err
    assert (code, "nope.x" in error, "trainer.max_steps" in error) == (2, True, True)
    with pytest.raises(SystemExit):
        main(["status", str(study.folder), "more"])


def test_override_of_an_earlier_configuration_changes_what_it_names() -> None:
    """A value, a whole group; what looks like an interpolation stays the text that it is."""
    base, _ = compose_config(["cluster=local", "cluster.partition=old"])
    base["cluster"]["setup"] = ["export X=${HOME}"]
    found, problems = override_config(base, ["trainer.max_steps=7", "evaluation=tasks"])
    assert problems == []
    assert found["trainer"] == {**base["trainer"], "max_steps": 7}
    assert found["cluster"] == base["cluster"]
    assert found["evaluation"]["tasks"]["limit"] == 200
    replaced, problems = override_config(base, ["cluster=slurm", "cluster.cpus=3", "cluster.cpsu=4"])
    assert [key for key, _ in problems] == ["cluster.cpsu"]
    assert (replaced["cluster"]["partition"], replaced["cluster"]["cpus"]) == (None, 3)


def test_complete_one_is_shown_and_not_run_again(study: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A derived study that has ended submits nothing; another recipe is refused with the difference."""
    scheduler = Scheduler()
    found: list[Assembly] = []
    monkeypatch.setattr("hpo.commands.train.run", lambda parts, *rest: found.append(parts) or 0)  # type: ignore[func-returns-value,redundant-expr]
    trained(study, TrainRequest("0000"), "trainer.max_steps=9")
    trained(study, TrainRequest("0000"), "trainer.max_steps=10")
    first, second = (_with(parts, MemoryExecutor(scheduler)) for parts in found)
    create_study(first.paths, first.raw, first.identity, {**configured(first), "earlier": {}})
    journal = Journal(first.paths.journal)
    assert first.given is not None
    events = [one.to_event() for one in first.proposer().propose(journal.study, 1)]
    journal.record(Event.BATCH_PLANNED, batch="0000", proposals=events, retries=[], request=None)
    journal.record(Event.TRIAL_CANCELLED, trial="0000")
    journal.record(Event.STUDY_FINISHED, reason="done")
    shown: list[str] = []
    console = Console(file=StringIO())
    code = derived.run(first, console, pytest.fail, lambda parts, console, headline: shown.append(headline))
    assert (code, shown, scheduler.polls) == (1, ["mine-train-0000 is complete; nothing to do"], 0)
    with pytest.raises(InputError, match=r"trainer\.max_steps: mine-train-0000 .* has 9, got 10"):
        derived.run(second, console, pytest.fail, lambda parts, console, headline: None)


def _with(parts: Assembly, executor: MemoryExecutor) -> Assembly:
    return replace(parts, executor=executor)  # type: ignore[arg-type]


def test_source_has_the_paths_that_its_trials_had(study: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the command is given."""
    monkeypatch.chdir("/")
    own = source(str(study.folder), Path())
    assert own.raw["trainer"]["_target_"] == "jobs.kinds.qlora.Qlora"
    assert own.raw["data"] == own.study.identity["data"]
