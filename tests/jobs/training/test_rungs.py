"""Rungs of a fine-tune: measured once, changing nothing, and where it ends if it is asked to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from killed_trial import die_after
from times import TIMES

from hpo.paths import TrialPaths
from hpo.records import RungRecord, StoppedResult, TrialResult, read_rungs
from jobs import run_trial
from jobs.attempt.rungs import RungLog
from jobs.data.account import Account
from jobs.data.tokens import Examples, Tokens
from jobs.training.rungs import rung_examples

pytestmark = pytest.mark.usefixtures("keep_handlers")

MakeTrial = Callable[..., TrialPaths]
EARLY = {"rungs": [1 / 3, 2 / 3], "rung_cost": 0.5}
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def dropout(recipe: dict[str, Any]) -> dict[str, Any]:
    """Six steps that draw random numbers, with a checkpoint after each."""
    recipe["trainer"] |= {"lora_dropout": 0.3, "micro_batch_size": 2, "checkpoint_every_s": 0}
    return recipe


def run(paths: TrialPaths) -> int:
    """Run an attempt in this process."""
    return run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def outcome(paths: TrialPaths) -> tuple[dict[str, float], bytes]:
    """The metrics that may not depend on time, and the adapter."""
    metrics = TrialResult.read(paths.metrics).metrics
    same = {name: metric.value for name, metric in metrics.items() if name not in TIMES}
    return same, (paths.adapter / WEIGHTS).read_bytes()


def losses(paths: TrialPaths) -> list[tuple[float, int, float]]:
    """Rung, step and loss of each line."""
    records = read_rungs(paths.rungs, paths.folder.name)
    return [(record.rung, record.step, record.metrics["eval_loss"].value) for record in records]


def test_rungs_change_no_bit_and_are_measured_once(
    dropout: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the step that follows a rung, and gone on: as without rungs, each rung there once."""
    plain, undisturbed = make_trial(dropout, "0001"), make_trial(dropout, "0002", **EARLY)
    killed = make_trial(dropout, "0003", **EARLY)
    assert (run(plain), run(undisturbed)) == (0, 0)
    die_after(monkeypatch, 3, lambda: run(killed))
    assert run(killed) == 0
    assert outcome(plain) == outcome(undisturbed) == outcome(killed)
    assert [(rung, step) for rung, step, _ in losses(killed)] == [(1 / 3, 2), (2 / 3, 4)]
    assert losses(killed) == losses(undisturbed)
    assert [record.attempt for record in read_rungs(killed.rungs, "0003")] == [1, 2]


def test_what_grows_is_extrapolated(dropout: dict[str, Any], make_trial: MakeTrial) -> None:
    """Tokens of two of six steps count threefold, the number of weights as it is."""
    paths = make_trial(dropout, **EARLY)
    assert run(paths) == 0
    first = read_rungs(paths.rungs, "0000")[0]
    final = TrialResult.read(paths.metrics).metrics
    assert first.share == pytest.approx(1 / 3)
    assert first.metrics["tokens"].value == pytest.approx(final["tokens"].value, rel=0.3)
    assert first.metrics["trainable_parameters"] == final["trainable_parameters"]


@pytest.mark.parametrize(
    ("group", "keys"),
    [
        ("trainer", {}),
        pytest.param("trainer", {"gpus": 2, "micro_batch_size": 1}, marks=pytest.mark.slow),
        pytest.param("data", {"packing": "packed"}, marks=pytest.mark.slow),
    ],
    ids=["alone", "two ranks", "packed"],
)
def test_a_stopped_trial_ends_at_its_rung_and_thaws_from_there(
    group: str, keys: dict[str, Any], dropout: dict[str, Any], make_trial: MakeTrial
) -> None:
    """With the loss of the rung, an adapter, exit code 0; without the marker it goes on to the same end."""
    dropout[group] |= keys
    undisturbed, stopped = make_trial(dropout, "0001", **EARLY), make_trial(dropout, "0002", **EARLY)
    assert run(undisturbed) == 0
    stopped.stop.touch()
    assert run(stopped) == 0
    result = StoppedResult.read(stopped.stopped(1))
    assert (stopped.metrics.exists(), result.rung, result.step) == (False, 1 / 3, 3)
    assert result.metrics["eval_loss"].value == losses(stopped)[0][2]
    assert (stopped.adapter / WEIGHTS).read_bytes() != outcome(undisturbed)[1]
    stopped.stop.unlink()
    assert run(stopped) == 0
    assert outcome(stopped) == outcome(undisturbed)
    assert TrialResult.read(stopped.metrics).details["attempts"] == [1, 2]


@pytest.mark.slow
def test_tasks_at_rungs_change_no_bit(dropout: dict[str, Any], make_trial: MakeTrial) -> None:
    """lm-eval seeds the generators of the whole process: the training does not notice."""
    dropout["evaluation"]["tasks"] = {
        "names": ["demo_words"],
        "folder": "demo",
        "metrics": None,
        "limit": 4,
        "fewshot": None,
        "chat_template": False,
        "shard_documents": 2,
    }
    plain, asked = make_trial(dropout, "0001"), make_trial(dropout, "0002", **EARLY, rung_documents=2)
    assert (run(plain), run(asked)) == (0, 0)
    assert outcome(plain) == outcome(asked)
    told = {name for record in read_rungs(asked.rungs, "0002") for name in record.metrics}
    assert {name for name in TrialResult.read(plain.metrics).metrics if name.startswith("demo")} <= told


def test_examples_of_a_rung_keep_to_the_cost() -> None:
    """100 trained and 50 held-out examples of 10 tokens: a tenth of 2 x 1000 + 500 tokens on two rungs."""

    def examples(count: int) -> list[Tokens]:
        return [Tokens([number] * 10, 1) for number in range(count)]

    data = Examples(examples(7), examples(50), Account())
    chosen = rung_examples(data, trained=100, rungs=2, cost=0.1)
    assert len(chosen) == 12
    assert len(rung_examples(data, trained=100, rungs=2, cost=1e-6)) == 1
    assert len(rung_examples(data, trained=10**6, rungs=2, cost=0.1)) == 50
    assert rung_examples(data, trained=10**6, rungs=2, cost=0.1)[:12] == chosen


def test_a_foreign_line_is_set_aside(make_attempt: Callable[[], Any]) -> None:
    """A rung of another trial: the file goes out of the way, and the rungs are measured anew."""
    attempt = make_attempt()
    other = RungRecord("0009", 1, 1 / 3, 1 / 3, 2, {})
    log = RungLog(attempt)
    log.add(1 / 3, 1 / 3, 2, {})
    assert not RungLog(attempt).lacks(1 / 3)
    with Path(attempt.paths.rungs).open("a") as stream:
        stream.write(json.dumps(other.to_json()) + "\n")
    assert RungLog(attempt).lacks(1 / 3)
    assert len(list(attempt.paths.folder.glob("rungs.jsonl.damaged-*"))) == 1
