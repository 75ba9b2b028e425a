"""Trials that a recorded table answers: as recorded, at any rung, or one clear error beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from recorded_table import DIVERGED, RATES, STEPS, UNTUNED, losses, row, write_table

from hpo.paths import TrialPaths
from hpo.records import Failure, StoppedResult, TrialResult, read_rungs
from jobs import run_table
from jobs.errors import RecipeError
from jobs.kinds.table import Table
from jobs.recipes.recorded import load
from jobs.recipes.table import parse

pytestmark = pytest.mark.usefixtures("keep_handlers")

CONF = Path(__file__).resolve().parents[3] / "conf"


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """The shipped one, with the fourth recorded trial, a thousand times as fast."""
    trainer = yaml.safe_load((CONF / "trainer" / "table.yaml").read_text())
    path = str(write_table(tmp_path / "made_up.jsonl.gz"))
    params = {"learning_rate": RATES[3], "target_modules": "all"}
    return {"trainer": trainer | {"path": path, "parameters": params, "seconds_scale": 1e-3}}


def run(paths: TrialPaths) -> int:
    """Run an attempt in this process."""
    return run_table.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Compressed or not, and without the line that is still being written."""
    table, plain = load(write_table(tmp_path / "a.jsonl.gz")), write_table(tmp_path / "a.jsonl")
    with plain.open("a") as stream:
        stream.write('{"trial": 10, "par')
    assert load(plain).trials == table.trials
    assert [trial.number for trial in table.trials] == list(range(10))
    fourth = table.trials[3]
    assert [point.share for point in fourth.measured] == pytest.approx(table.rungs)
    assert [point.metrics["eval_loss"].value for point in fourth.measured] == losses(3)
    assert fourth.measured[0].metrics["eval_loss"].standard_error == 0.05
    failure = table.trials[DIVERGED].failure
    assert failure is not None
    assert failure.step == 5


@pytest.mark.parametrize(
    ("rate", "targets", "expected"),
    [
        (RATES[3], "all", 3),
        (RATES[3] * 1.1, "all", 3),
        (RATES[3], "qv", 2),  # another choice counts 1, two steps of the rate (2 / 9)^2; of 2 and 4 the first
        (1e-2, "all", 9),
    ],
)
def test_the_nearest_one_answers(tmp_path: Path, rate: float, targets: str, expected: int) -> None:
    """By the logarithm of the rate, and the kind of modules before it."""
    table = load(write_table(tmp_path / "a.jsonl"))
    assert table.nearest({"learning_rate": rate, "target_modules": targets}).number == expected


def test_what_is_not_given_counts_nothing(tmp_path: Path) -> None:
    """Then the rate decides alone."""
    assert load(write_table(tmp_path / "a.jsonl")).nearest({"learning_rate": RATES[4]}).number == 4


def test_a_trial_reports_what_was_recorded_at_rungs_and_at_its_end(
    recipe: dict[str, Any], make_trial: Callable[..., TrialPaths]
) -> None:
    """Seconds are the recorded CPU seconds, scaled; at rungs what grows is told as of the end."""
    paths = make_trial(recipe, rungs=[1 / 9, 1 / 3])
    assert run(paths) == 0
    result = TrialResult.read(paths.metrics)
    assert result.metrics["eval_loss"].value == losses(3)[-1]
    assert result.metrics["eval_loss"].standard_error == 0.05
    assert result.metrics["train_seconds"].value == pytest.approx(STEPS * 1e-3)
    assert result.metrics["train_cpu_seconds"] == result.metrics["train_seconds"]
    assert result.metrics["adapter_bytes"].value == 1000
    assert set(result.metrics) == set(Table().metrics(recipe))
    assert (result.details["recorded_trial"], result.details["steps"]) == (3, STEPS)
    rungs = read_rungs(paths.rungs, paths.folder.name)
    assert [(own.step, own.metrics["eval_loss"].value) for own in rungs] == [
        (1, losses(3)[0]),
        (3, losses(3)[2]),
    ]
    assert [own.metrics["train_seconds"].value for own in rungs] == pytest.approx([STEPS * 1e-3] * 2)
    assert [own.metrics["tokens"].value for own in rungs] == pytest.approx([90.0] * 2)
    assert {name for own in rungs for name in own.metrics} == set(
        Table().early_metrics(recipe, documents=False)
    )


def test_between_two_records_a_trial_is_on_the_line(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Of a table whose second rung is at step 4: at step 2, a third of the way from 1 to 4."""
    lines = [json.loads(line) for line in write_table(tmp_path / "few.jsonl").read_text().splitlines()]
    lines[4]["rungs"] = [lines[4]["rungs"][0], lines[4]["rungs"][3]]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe["trainer"] |= {"path": str(tmp_path / "few.jsonl")}
    first, second = losses(3)[0], losses(3)[3]
    answer = parse(recipe)
    assert answer.at(2)["eval_loss"].value == pytest.approx(first + (second - first) / 3)
    assert answer.at(0)["eval_loss"].value == UNTUNED
    assert answer.at(2)["tokens"].value == pytest.approx(20.0)


def test_a_failure_comes_as_recorded(recipe: dict[str, Any], make_trial: Callable[..., TrialPaths]) -> None:
    """With its cause, after the rungs that it had reached."""
    recipe["trainer"]["parameters"] = row(DIVERGED)["params"]
    paths = make_trial(recipe, rungs=[1 / 9, 1 / 3, 8 / 9])
    assert run(paths) == 1
    failure = Failure.read(paths.failure(1))
    assert (failure.cause, failure.message) == ("diverged", row(DIVERGED)["failure"]["message"])
    assert [own.step for own in read_rungs(paths.rungs, paths.folder.name)] == [1, 3]


def test_a_trial_ends_at_a_rung_when_it_is_asked_to(
    recipe: dict[str, Any], make_trial: Callable[..., TrialPaths]
) -> None:
    """With what the table has there."""
    paths = make_trial(recipe, rungs=[1 / 3])
    paths.stop.touch()
    assert run(paths) == 0
    stopped = StoppedResult.read(paths.stopped(1))
    assert (stopped.step, stopped.metrics["eval_loss"].value) == (3, losses(3)[2])


@pytest.mark.parametrize(
    ("keys", "key", "text"),
    [
        ({"path": None}, "trainer.path", "expected string"),
        ({"path": "/nowhere.jsonl"}, "trainer.path", "expected a table of fine-tunes"),
        (
            {"parameters": {"epochs": 3}},
            "trainer.parameters.epochs",
            "no such parameter, expected some of learn",
        ),
        ({"parameters": {"learning_rate": 0.1}}, "trainer.parameters.learning_rate", "from 0.0001 to 0.01"),
        ({"parameters": {"target_modules": "mlp"}}, "trainer.parameters.target_modules", "one of qv, all"),
        ({"seconds_scale": 0}, "trainer.seconds_scale", "more than 0"),
    ],
)
def test_what_the_table_cannot_answer_is_one_problem(
    recipe: dict[str, Any], keys: dict[str, Any], key: str, text: str
) -> None:
    """By its key."""
    recipe["trainer"] |= keys
    (problem,) = Table().problems(recipe)
    assert problem[0] == key
    assert text in problem[1]


@pytest.mark.parametrize(
    "text", ["", "{}\n", "no table\n", '{"table": 2}\n{"trial": 1}\n', '{"table": 1}\n[]\n']
)
def test_a_file_that_is_no_table_is_named(tmp_path: Path, text: str) -> None:
    """With what was expected."""
    (tmp_path / "other.jsonl").write_text(text)
    with pytest.raises(RecipeError, match=r"other\.jsonl, expected a table of fine-tunes"):
        load(tmp_path / "other.jsonl")
