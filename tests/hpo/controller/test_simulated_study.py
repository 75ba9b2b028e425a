"""Whole studies on the simulated cluster: the controller's own code, in seconds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from rich.console import Console

from hpo.commands.tune import tune
from hpo.paths import StudyPaths
from hpo.records import read_jsonl
from hpo.strategies.registry import LATER
from hpo.study.gpu_hours import used
from hpo.study.journal import load_study
from hpo.study.state import Study, TrialState

HOURS = [
    *("experiment=none", "trainer=synthetic", "cluster=simulated", "strategy=sobol"),
    *("trainer.seconds=3600", "trainer.step_seconds=60", "trainer.checkpoint_every_s=600"),
    *("cluster.nodes=2", "report.automatic=false", "cluster.gpus_per_node=4"),
]


def run(folder: Path, *overrides: str) -> tuple[Study, list[dict[str, Any]]]:
    """A study to its end, and its journal."""
    given = [*HOURS, f"study.root={folder}", "study.name=simulated", *overrides]
    assert tune(given, None, Console(quiet=True)) == 0
    paths = StudyPaths(folder / "simulated")
    return load_study(paths.journal), read_jsonl(paths.journal)


def test_a_study_of_hours_ends_in_seconds_and_loses_nothing(tmp_path: Path) -> None:
    """Forty trials of an hour on eight GPUs, with preemptions, node failures and trials that fail."""
    study, _ = run(
        tmp_path,
        "budget.trials=40",
        *("cluster.preemptions_per_gpu_hour=0.3", "cluster.node_failures_per_hour=0.05"),
        *("trainer.fail_error=0.02", "trainer.fail_diverged=0.05", "cluster.queue_wait=120"),
    )
    counts = Counter(trial.state for trial in study.trials.values())
    assert counts[TrialState.COMPLETED] + counts[TrialState.FAILED] == 40
    assert {str(end.cause) for end in study.ends} >= {"preempted", "None"}
    hours = used(study)
    assert 25 < hours.useful / 3600 < 60
    assert 0 < hours.lost < hours.useful


def test_a_study_that_goes_on_does_so_where_its_clock_stood(tmp_path: Path) -> None:
    """Three hours and the trials under way are spent, so that 3.5 hours leave nothing; 6 go on in order."""
    short = ["budget.trials=200", "batch.size=4"]
    before, _ = run(tmp_path, *short, "budget.wall_hours=3")
    again, _ = run(tmp_path, *short, "budget.wall_hours=3.5")
    assert len(again.trials) == len(before.trials)
    longer, events = run(tmp_path, *short, "budget.wall_hours=6")
    assert len(longer.trials) > len(before.trials)
    times = [event["at"] for event in events]
    assert times == sorted(times)


def test_what_results_took_is_told_to_the_search(tmp_path: Path) -> None:
    """Four are enough to divide by, and as many are known before the fifth trial is proposed."""
    _, events = run(
        tmp_path,
        *("objectives=loss", "strategy=bo", "strategy.initial=4"),
        *("strategy.acquisition=auto_per_gpu_second", "budget.trials=8", "batch.size=4", "batch.refill=4"),
    )
    planned = [own for event in events for own in event.get("proposals", ())]
    modelled = [own["note"] for own in planned if own["origin"] == "model"]
    assert len(modelled) == 4
    assert [note for note in modelled if "not divided" in note] == []


def test_what_the_search_needs_later_is_loaded_while_its_first_trials_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any has ended; a module that cannot be loaded is left to the proposal that needs it."""
    loaded: list[str] = []

    def load(name: str) -> None:
        ended = load_study(StudyPaths(tmp_path / "simulated").journal).in_state(TrialState.COMPLETED)
        loaded.append(f"{name} {len(ended)}")
        raise RuntimeError

    monkeypatch.setitem(LATER, "sobol", "wanted_later")
    monkeypatch.setattr("hpo.controller.loop.import_module", load)
    monkeypatch.setattr("threading.Thread.start", Thread.run)
    run(tmp_path, "budget.trials=8")
    assert loaded == ["wanted_later 0"]


def test_the_same_seed_gives_the_same_journal(tmp_path: Path) -> None:
    """But for the moment at which it began, and the name of the study's arrays."""

    def told(folder: Path) -> list[tuple[Any, ...]]:
        _, events = run(folder, "budget.trials=12", "fidelity.stopping=asha", "batch.size=8")
        keys = ("event", "trial", "batch", "metrics", "seconds", "job_id", "stop")
        return [tuple(event.get(key) for key in keys) for event in events[1:]]

    assert told(tmp_path / "one") == told(tmp_path / "two")


def test_stopped_trials_cost_less_and_none_is_lost(tmp_path: Path) -> None:
    """The same study with and without: each trial has ended once, for fewer GPU-hours."""
    whole, _ = run(tmp_path / "whole", "budget.trials=24")
    rough = "cluster.preemptions_per_gpu_hour=0.5"
    early, events = run(tmp_path / "early", "budget.trials=24", "fidelity.stopping=asha", rough)
    ended = [event["trial"] for event in events if event["event"] in ("trial_completed", "trial_stopped")]
    assert sorted(ended) == sorted(early.trials)
    assert len(early.in_state(TrialState.STOPPED)) >= 12
    assert used(early).hours < 0.6 * used(whole).hours
    best = min(whole.in_state(TrialState.COMPLETED), key=lambda trial: trial.metrics["eval_loss"].value)
    assert best.metrics["eval_loss"].value < 1.0


@pytest.mark.slow
def test_a_study_that_stops_by_gain_and_settles_loses_nothing(tmp_path: Path) -> None:
    """With preemptions, to the end of its budget or until it has settled; every trial has ended once."""
    more = ("strategy=bo", "cluster.preemptions_per_gpu_hour=0.5", "budget.settle=3", "objectives=loss")
    study, events = run(tmp_path, "budget.trials=24", "fidelity.stopping=gain", "batch.size=6", *more)
    ended = [event["trial"] for event in events if event["event"] in ("trial_completed", "trial_stopped")]
    assert sorted(ended) == sorted(study.trials)
    weighed = [event["worth"] for event in events if "worth" in event]
    assert weighed
    assert all(0 <= worth["chance"] <= 1 and worth["gain"] >= 0 for worth in weighed)
    assert study.outlooks


@pytest.mark.parametrize("key", ["nodes", "queue_wait", "preemptions_per_gpu_hour"])
def test_a_site_that_is_none_is_refused_by_its_key(key: str, tmp_path: Path) -> None:
    """With one message, and nothing left behind."""
    from hpo.errors import InputError

    with pytest.raises(InputError) as refused:
        run(tmp_path, f"cluster.{key}=-1")
    assert [name for name, _ in refused.value.problems] == [f"cluster.{key}"]
    assert list(tmp_path.iterdir()) == []


def test_a_table_answers_a_study_and_what_it_lacks_is_known_beforehand(tmp_path: Path) -> None:
    """Ten recorded fine-tunes: each trial has a loss of theirs, the failed one fails too."""
    from recorded_table import DIVERGED, losses, write_table

    from hpo.errors import InputError

    table = write_table(tmp_path / "made_up.jsonl")
    answered = [
        *("experiment=none", "trainer=table", f"trainer.path={table}", "trainer.seconds_scale=400"),
        *("cluster=simulated", "strategy=sobol", "space=none", "budget.trials=24", "report.automatic=false"),
        *("space.learning_rate=tag(log, interval(1e-4, 1e-2))", f"study.root={tmp_path}", "study.name=table"),
    ]
    with pytest.raises(InputError) as refused:
        tune([*answered, "space.epochs=choice(1, 2)"], None, Console(quiet=True))
    assert [key for key, _ in refused.value.problems] == ["trainer.parameters.epochs"]
    assert not (tmp_path / "table").exists()
    assert tune([*answered, "fidelity.stopping=asha"], None, Console(quiet=True)) == 0
    study = load_study(StudyPaths(tmp_path / "table").journal)
    recorded = {losses(number)[-1] for number in range(10) if number != DIVERGED}
    completed = study.in_state(TrialState.COMPLETED)
    assert completed
    assert {trial.metrics["eval_loss"].value for trial in completed} <= recorded
    assert study.in_state(TrialState.FAILED)
    assert study.in_state(TrialState.STOPPED)
    assert used(study).hours == pytest.approx(sum(end.seconds for end in study.ends) / 3600, rel=0.01)
