"""The table of the published studies: from hand-made records, and from one study that really ran."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.published import page
from benchmarks.published.__main__ import FILE, main
from benchmarks.published.preempt import Preemption
from benchmarks.records import Record, append, read_records
from benchmarks.reliability.cluster import Task
from benchmarks.trial.page import replaced
from hpo.paths import StudyPaths
from hpo.records import Cause
from hpo.study.state import AttemptEnd, Batch, Study, Trial, TrialState


def _row(**metrics: float) -> Record:
    return {
        "origin": "random",
        "params": {"lora_rank": 8},
        "metrics": {name: [value, 0.03] for name, value in metrics.items()},
    }


def _record(name: str, seed: int = 0, **more: object) -> Record:
    own: Record = {
        "experiment": name,
        "seed": seed,
        "exit": 0,
        "seconds": 61.0,
        "load": 0.5,
        "trials": 4,
        "failed": 0,
    }
    own |= {"preempted": 1, "resumed_at": 7, "baseline": {}, "pilot": [], "arms": {}}
    return own | more


def _pareto(seed: int, proposed: int, chance: int) -> Record:
    trials = [_row(train_loss=1.0, train_seconds=1.0)] * 5
    arms = {
        "random": {"trials": trials, "extends": chance, "volume": 1.0},
        "proposed": {"trials": trials, "extends": proposed, "volume": 1.0 + 0.1 * seed},
    }
    return _record("lora_pareto_4", seed, arms=arms)


def test_continuations_are_counted_over_the_seeds() -> None:
    """3 + 1 of 10 against 0 + 1; volumes 1.1 and 1.3 have mean 1.2 and standard error 0.1."""
    text = page.claims([_pareto(3, 1, 1), _pareto(1, 3, 0)])
    assert "| random | 0, 1 | **1 of 10** | 1.000 ± 0.000 |" in text
    assert "| proposed | 3, 1 | **4 of 10** | 1.200 ± 0.100 |" in text
    assert "seeds 1, 3" in text


def test_correlation_of_two_tasks_is_pearsons() -> None:
    """(1, 2), (2, 4), (3, 3): covariance 0.5, both variances 1."""
    rows = [_row(demo_words_acc=x, demo_numbers_acc=y) for x, y in ((1.0, 2.0), (2.0, 4.0), (3.0, 3.0))]
    assert "Over the 3 trials" in (text := page.claims([_record("partition_lhs", pilot=rows)]))
    assert "correlated at 50%" in text


@pytest.mark.parametrize(
    ("score", "seen"),
    [(0.50, "within noise: +8.0 ± 4.2 points"), (0.60, "yes: +18.0 ± 4.2 points")],
)
def test_a_better_score_counts_beyond_two_standard_errors(score: float, seen: str) -> None:
    """0.42 of the hypercube; sqrt(2) * 0.03 is the error of a difference."""
    floor = _record("partition_lhs", pilot=[_row(demo_words_acc=0.42)], baseline={"demo_words_acc": 0.3})
    found = _record("partition_soo", pilot=[_row(demo_words_acc=score)], baseline={"demo_words_acc": 0.3})
    assert seen in page.table([floor, found])


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.long(150)
def test_a_study_is_run_preempted_and_tabled(require_slurm: None, tmp_path: Path) -> None:
    """The practical guide at demo scale: four ways to store the base, one trial preempted, one row."""
    copy = tmp_path / "studies.md"
    shutil.copy(page.PAGE, copy)
    copy.write_text(replaced(replaced(copy.read_text(), "published", ""), "claims", ""))
    short = ["trainer.epochs=0.15", "data.validation_examples=16", "evaluation.samples.max_new_tokens=4"]
    assert main(["guide_alpaca", "--results", str(tmp_path), "--page", str(copy), "--set", *short]) == 0
    (record,) = read_records(tmp_path / FILE)
    assert (record["trials"], record["failed"], record["preempted"]) == (4, 0, 1)
    assert record["resumed_at"] > 1
    assert {row["params"]["quantisation"] for row in record["pilot"]} == {"nf4", "fp4", "int8", "none"}
    assert "| `guide_alpaca` |" in copy.read_text()


def test_only_studies_that_ended_are_tabled(tmp_path: Path) -> None:
    """A study that ran out of time leaves a record, but no row."""
    copy = tmp_path / "page.md"
    copy.write_text(
        "<!-- published -->\n<!-- end of published -->\n<!-- claims -->\n<!-- end of claims -->\n"
    )
    append(tmp_path / FILE, _record("guide_alpaca", exit=None))
    page.write(tmp_path / FILE, copy)
    assert "guide_alpaca" not in copy.read_text()


class _Site:
    """A study of two trials on one node, which knows of a preemption, or of their ends, after some looks."""

    def __init__(self, folder: Path, *, preempted: bool) -> None:
        trials = [Trial(name, 0, {}, "sobol", "0000", "", state=TrialState.OPEN) for name in ("0000", "0001")]
        self.study = Study("u", "study", trials={own.id: own for own in trials})
        self.study.batches["0000"] = Batch("0000", list(self.study.trials), "7")
        self.paths, self.over = StudyPaths(folder), self
        self.preempted, self.now, self.sent = preempted, 0.0, 0
        self.paths.trial("0000").folder.mkdir(parents=True)
        line = {"step": 3, "phase": "training"}
        self.paths.trial("0000").progress.write_text(json.dumps(line) + "\n")

    def wait(self, seconds: float) -> bool:
        """Let a minute go by; the study is over after ten."""
        self.now += 60
        end = AttemptEnd("0001", 1, "0000", Cause.PREEMPTED, "", "n", 0, 1.0, 1, 1.0, "")
        if self.now == 300 and self.preempted:
            self.study.ends.append(end)
        if self.now == 300 and not self.preempted:
            for trial in self.study.trials.values():
                trial.state = TrialState.COMPLETED
        return self.now > 600

    def tasks(self, state: str, prefix: str) -> list[Task]:
        """Both are running."""
        return [Task("7", index, "n") for index in range(2)]

    def ask(self, *command: str) -> SimpleNamespace:
        """Take an urgent job of one card."""
        assert "--gres=gpu:1" in command
        self.sent += 1
        return SimpleNamespace(ok=True)


@pytest.mark.parametrize(("preempted", "sent"), [(True, 1), (False, 4)])
def test_another_trial_is_preempted_only_where_none_was(
    preempted: bool, sent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the study knows: after five minutes, of a preemption or that all had ended."""
    site = _Site(tmp_path, preempted=preempted)
    monkeypatch.setattr("time.monotonic", lambda: site.now)
    Preemption(cast(Any, site), cast(Any, site)).run()
    assert site.sent == sent
