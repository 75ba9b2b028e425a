"""What early stopping is measured by: replays on a virtual clock, and the table of GPU-hours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks.fidelity.__main__ import FILE, chosen, options_of, row, studies, table
from benchmarks.fidelity.foretelling import ASKED, measured
from benchmarks.fidelity.moasha import Moasha
from benchmarks.fidelity.outcome import gpu_hours, regretted
from benchmarks.fidelity.replay import Metrics, Replay, Station, beginning, outcome
from benchmarks.fidelity.study import FAMILIES, overrides, run, tuned
from benchmarks.records import RESULTS, ROOT, Record, read_records
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.pareto import Row
from hpo.paths import StudyPaths
from hpo.records import AttemptRecord, Metric, TrialResult, TrialSpec, read_rungs
from hpo.space.space import parse_space
from hpo.study.journal import load_study
from hpo.study.state import TrialState

NEEDED = "Syne Tune is not installed (make benchmark installs it)"
NINTH, THIRD = 1 / 9, 1 / 3
POLICIES = ["--policies", "full", "gain", "random asha", "moasha", "moasha ranked"]
FOUR = ["--families", "demo", "instructions", "parallel", "crossing"]
ON_64 = ["--gpus", "64", "--trials", "200", "--families", "parallel", "--seeds", *"012"]
TO_THE_END = [*FOUR, "--share", "1.0", "--seeds", "0", "1", "2", "3"]
AS_THE_PAGE_HAS_THEM = {
    "8 GPUs": [*FOUR, *POLICIES],
    "8 GPUs, all of full length's hours": [*TO_THE_END, *POLICIES[:4]],
    "64 GPUs": [*ON_64, *POLICIES[:4]],
}


def test_stopped_trials_that_would_have_been_on_the_front_are_counted() -> None:
    """(2, 2) is between the completed ones, (1, 3) is as good as one of them, (4, 4) is behind."""
    assert regretted([(1.0, 3.0), (3.0, 1.0)], [(2.0, 2.0), (4.0, 4.0), (1.0, 3.0)]) == 2


@pytest.mark.parametrize(("until", "expected"), [(0.0, 0.0), (3600.0, 1.5), (7200.0, 2.0)])
def test_gpu_hours_count_attempts_at_work(until: float, expected: float) -> None:
    """Two hours, of which the second began half an hour later."""
    assert gpu_hours([(0.0, 3600.0), (1800.0, 5400.0)], until) == expected


class Scripted:
    """Stops trial 1 at its first rung, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def suggest(self, number: int) -> dict[str, Any]:
        return {"number": number}

    def goes_on(self, number: int, rung: float, row: Row) -> bool:
        self.told.append((number, rung, row))
        return number != 1

    def ended(self, number: int, row: Row | None) -> None:
        self.told.append((number, row))


def begin(number: int, params: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Station]]:
    """Rungs after 10 and 30 seconds, the end after 90; trial 2 fails after 40."""
    value = {"loss": Metric(float(number))}
    end = Station(40.0, None, None) if number == 2 else Station(90.0, None, value)
    return params, [Station(10.0, NINTH, value), Station(30.0, THIRD, value), end]


def loss(metrics: Metrics) -> Row:
    """The objective of these."""
    return (metrics["loss"].value,)


def test_replay_fills_free_gpus_until_the_budget_is_spent() -> None:
    """When the third trial fails at 50 s, 50 + 10 + 40 GPU-seconds are used, which is all there are."""
    scheduler = Scripted()
    trials = Replay(begin, loss, scheduler, gpus=2, hours=100 / 3600, most=9).run()
    assert [(trial.state, trial.began_s, trial.ended_s) for trial in trials] == [
        (TrialState.COMPLETED, 0.0, 90.0),
        (TrialState.STOPPED, 0.0, 10.0),
        (TrialState.FAILED, 10.0, 50.0),
    ]
    assert scheduler.told == [
        *((0, NINTH, (0.0,)), (1, NINTH, (1.0,)), (2, NINTH, (2.0,))),
        *((0, THIRD, (0.0,)), (2, THIRD, (2.0,)), (2, None), (0, (0.0,))),
    ]
    found = outcome(trials, objectives=1)
    assert (found.hours, found.begun) == ([140 / 3600], 3)
    assert (found.completed, found.stopped) == ([{"number": 0}], [{"number": 1}])


def test_replay_begins_no_more_trials_than_it_may() -> None:
    """Three trials of 90 s on one GPU, of which the second ends after 10 and the third after 40."""
    trials = Replay(begin, loss, Scripted(), gpus=1, hours=9.0, most=3).run()
    assert [trial.ended_s for trial in trials] == [90.0, 100.0, 140.0]


def settings(family: str, policy: str) -> Record:
    """Of a study of up to eight trials on two GPUs."""
    own = {"family": family, "policy": policy, "seed": 1, "gpus": 2, "trials": 1, "hours": 2.0}
    return {**own, "more": ""}


@pytest.mark.parametrize("family", ["crossing", "demo"])
def test_replayed_trials_are_those_of_the_simulated_cluster(family: str, tmp_path: Path) -> None:
    """To the bit: the recipes, what is measured at rungs and ends; to the millisecond: how long it takes."""
    own = overrides(settings(family, "random asha"), FAMILIES[family](), tmp_path)
    assert tuned(own, tmp_path).begun > 2
    begins, paths = beginning(assemble(*compose_config(own, None))), StudyPaths(tmp_path / "study")
    study = load_study(paths.journal)
    for trial in study.trials.values():
        files = paths.trial(trial.id)
        spec, rungs = TrialSpec.read(files.spec), read_rungs(files.rungs, trial.id)
        recipe, stations = begins(trial.number, spec.params)
        assert recipe == spec.recipe
        assert [(own.rung, own.metrics) for own in stations[: len(rungs)]] == [
            (rung.rung, rung.metrics) for rung in rungs
        ]
        if trial.state is TrialState.COMPLETED:
            assert stations[-1].metrics == TrialResult.read(files.metrics).metrics
            assert stations[-1].age_s == pytest.approx(AttemptRecord.read(files.attempt(1)).seconds, abs=1e-3)
    assert study.in_state(TrialState.COMPLETED)


def test_moasha_has_the_record_of_every_policy() -> None:
    """The same fields, so that the table sets it beside the others."""
    pytest.importorskip("syne_tune", reason=NEEDED)
    fields = {"hours_used", "volumes", "trials_begun", "stopped", "regretted", "cpu_s"}
    for policy in ("moasha", "random asha"):
        record = run(settings("demo", policy))
        assert set(record) == {*settings("demo", policy), *fields}
        assert len(record["hours_used"]) == len(record["volumes"]) > 0


@pytest.mark.parametrize(
    ("ranked", "expected"),
    [(True, [True, False, True, False, True]), (False, [True, False, True, False, False])],
)
def test_moasha_decides_by_rank(ranked: bool, expected: list[bool]) -> None:
    """The first, and those better than all before; as shipped not the fifth: the worst one came fourth.

    Of five the best goes on where its rank 0 / 5 is at most a third. As shipped the place of the worst one
    stands for that rank, 3 / 5.
    """
    pytest.importorskip("syne_tune", reason=NEEDED)
    moasha = Moasha(parse_space({"rate": "interval(0, 1)"}), 2, seed=0, ranked=ranked)
    decisions = []
    for number, value in enumerate([1.0, 2.0, 0.5, 3.0, 0.4]):
        moasha.suggest(number)
        decisions.append(moasha.goes_on(number, NINTH, (value, value)))
    assert decisions == expected


def test_moasha_draws_from_the_space() -> None:
    """Every kind of parameter of the benchmark, and the same ones again with the same seed."""
    pytest.importorskip("syne_tune", reason=NEEDED)
    space = parse_space(
        {
            "rate": "tag(log, interval(1e-4, 1e-2))",
            "rank": "range(2, 32, step=2)",
            "modules": "choice(qv, all)",
        }
    )
    drawn = []
    for _ in range(2):
        moasha = Moasha(space, 2, seed=3, ranked=False)
        drawn.append([moasha.suggest(number) for number in range(20)])
    assert drawn[0] == drawn[1]
    assert all(space.contains(params) for params in drawn[0])


def _record(gpus: int, policy: str, hours: list[float], volumes: list[float], **more: Any) -> Record:
    own = {"family": "crossing", "policy": policy, "seed": 0, "gpus": gpus, "trials_begun": 5, "stopped": 3}
    return {**own, "hours_used": hours, "volumes": volumes, "cpu_s": 2.0, **more}


def test_rows_keep_numbers_of_gpus_apart() -> None:
    """On 8 GPUs the last volume was there after 15 of 20 hours, on 64 never; old records lack regrets."""
    records = [
        _record(8, "full", [10.0, 20.0], [0.5, 1.0]),
        _record(64, "full", [40.0, 80.0], [0.5, 1.0]),
        _record(8, "gain", [15.0], [1.0], regretted=2),
        _record(64, "gain", [40.0], [0.5]),
    ]
    expected = "| crossing | 8 | gain | 0.000 | 0.000 |  | 0.75 | 5, 3 | 2.0 | 2 |"
    assert row(records, "crossing", 8, "gain") == expected
    expected = "| crossing | 64 | gain | 0.000 | 0.500 |  | not | 5, 3 |  | 2 |"
    assert row(records, "crossing", 64, "gain") == expected
    expected = "| crossing | 8 | full | 0.000 | 0.500 | 1.000 | 1.00 | 5, 3 |  | 2 |"
    assert row(records, "crossing", 8, "full") == expected
    missing = "| crossing | 8 | asha | none yet | | | | | | |"
    wanted = [_record(8, "asha", [], [])]
    assert table(records, [*wanted, *wanted]).splitlines()[2:] == [missing]


@pytest.mark.parametrize("asked", AS_THE_PAGE_HAS_THEM.values(), ids=AS_THE_PAGE_HAS_THEM)
def test_the_page_has_the_tables_of_the_committed_results(asked: list[str]) -> None:
    """Letter by letter, as `--table` prints them."""
    page = (ROOT / "docs" / "early_stopping.md").read_text(encoding="utf-8")
    options = options_of(asked)
    assert table(chosen(read_records(RESULTS / FILE), options), studies(options, options.policies)) in page


def test_ours_foretells_ends_of_made_up_curves() -> None:
    """Of 30 trials a row at each of two rungs; most ends are within their 90% intervals."""
    rows = measured("parallel", "ours", 16, 0, stopped=False)
    assert [row[0] for row in rows] == [0] * ASKED + [1] * ASKED
    assert 0.75 < fmean(row[2] for row in rows) <= 1.0
    worse = measured("parallel", "ours", 16, 0, stopped=True)
    assert fmean(row[1] for row in worse) < fmean(
        row[1] for row in rows
    )  # who is behind was never seen through
