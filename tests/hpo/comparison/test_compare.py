"""Studies side by side: curves, the test, and what is refused."""

from __future__ import annotations

import csv
import io
import math
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpo.commands.compare import compare
from hpo.comparison.curves import (
    Trajectory,
    area,
    group_by_settings,
    over_hours,
    over_trials,
    permutation_test,
    seeds_for,
    stem,
    trials_to_reach,
)
from hpo.errors import InputError
from hpo.pareto import hypervolume, hypervolumes, incumbents
from hpo.paths import StudyPaths
from hpo.study.journal import Journal, load_study
from hpo.study.state import Event, Study
from hpo.study.store import create_study

NAN = math.nan
BOTH = {
    "loss": {"direction": "min", "threshold": None},
    "accuracy": {"direction": "max", "threshold": None},
}
ONE = {"loss": BOTH["loss"]}


def make_study(
    root: Path, name: str, seed: int, rows: list[Any], objectives: dict[str, Any], strategy: str = "bo"
) -> Study:
    """A study whose trials took 900 s of a card each: metrics by objective, or None for one that failed."""
    paths = StudyPaths(root / name)
    settings = {"strategy": {"name": strategy}, "batch": {"size": 1}, "budget": {"trials": 9}}
    create_study(
        paths, {}, {"study": {"seed": seed}, "space": {}}, {"objectives": objectives, "settings": settings}
    )
    journal = Journal(paths.journal)
    cost = {"attempt": 1, "batch": "0000", "seconds": 900.0, "gpus": 1, "useful_seconds": 900.0}
    proposals = [
        {"trial": f"{n:04d}", "number": n, "params": {}, "origin": "sobol"} for n in range(len(rows))
    ]
    journal.record(Event.BATCH_PLANNED, batch="0000", retries=[], proposals=proposals)
    for n, row in enumerate(rows):
        if row is None:
            end = {"cause": "diverged", "message": "", "progressed": False, "node": ""}
            journal.record(Event.ATTEMPT_ENDED, trial=f"{n:04d}", **end, **cost)
            journal.record(Event.TRIAL_FAILED, trial=f"{n:04d}", cause="diverged", message="")
        else:
            metrics = {
                own: {"value": v, "standard_error": None} for own, v in zip(objectives, row, strict=True)
            }
            journal.record(Event.TRIAL_COMPLETED, trial=f"{n:04d}", metrics=metrics, **cost)
    return load_study(paths.journal)


def run(levels: list[float], hours: list[float] | None = None) -> Trajectory:
    return Trajectory("s", 0, levels, hours or [float(n + 1) for n in range(len(levels))])


def test_mean_and_standard_error_are_hand_worked() -> None:
    """1 and 3: mean 2, standard deviation sqrt(2), standard error 1; the longer study is cut."""
    curve = over_trials([run([1.0, 1.0, 9.0]), run([3.0, 5.0])])
    assert curve.x == (1.0, 2.0)
    assert curve.mean == (2.0, 3.0)
    assert curve.error == pytest.approx((1.0, 2.0))


def test_a_curve_begins_where_every_study_has_a_result() -> None:
    """The first trial of one failed; a single study has no standard error."""
    curve = over_trials([run([NAN, 1.0]), run([3.0, 5.0])])
    assert curve.x == (2.0,)
    assert math.isnan(over_trials([run([1.0])]).error[0])


def test_gpu_hours_are_a_step_function() -> None:
    """Levels 1, 2 and 4 at hours 1, 2 and 4: from 1 to 4 in four points they are 1, 2, 2 and 4."""
    curve = over_hours([run([1.0, 2.0, 4.0], [1.0, 2.0, 4.0])], points=4)
    assert curve.x == (1.0, 2.0, 3.0, 4.0)
    assert curve.mean == (1.0, 2.0, 2.0, 4.0)


def test_incumbents_keep_the_best_and_pass_over_failures() -> None:
    """Losses 3, failed, 1, infinite, 2: the best so far is 3, 3, 1, 1, 1; none before the first result."""
    assert incumbents([3.0, None, 1.0, math.inf, 2.0]) == [3.0, 3.0, 1.0, 1.0, 1.0]
    assert math.isnan(incumbents([None])[0])


def test_volumes_are_those_of_all_rows_so_far() -> None:
    """By a second method: the hypervolume of every row so far, also with repeats and rows outside."""
    rows = [(0.5, 0.5), (0.5, 0.5), (2.0, 0.1), (0.2, 0.9), None, (0.4, 0.4), (0.4, 0.6)]
    expected = [hypervolume([row for row in rows[: n + 1] if row], (1.0, 1.0)) for n in range(len(rows))]
    assert hypervolumes(rows, (1.0, 1.0)) == pytest.approx(expected)
    assert hypervolumes(rows, (1.0, 1.0), [1, 4, 7]) == pytest.approx([expected[at] for at in (0, 3, 6)])


def test_trials_to_reach_a_level() -> None:
    """0.5, 0.7, 0.9 is at 0.6 after two, and never at 1."""
    curve = over_trials([run([0.5, 0.7, 0.9])])
    assert trials_to_reach(curve, 0.6) == 2
    assert trials_to_reach(curve, 1.0) is None


def test_area_is_the_mean_level() -> None:
    """From the first result on: the mean of 1, 2 and 3."""
    assert area(run([NAN, 1.0, 2.0, 3.0, 99.0]), 4) == 2.0


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        ([3.0, 4.0, 5.0], [0.0, 1.0, 2.0], 2 / 20),  # fully apart: itself and its mirror image, of C(6, 3)
        ([1.0, 1.0], [1.0, 1.0], 1.0),
        ([9.0, 8.0, 7.0, 6.0], [1.0, 2.0, 3.0, 4.0], 2 / 70),
        ([5.0], [1.0, 2.0, 3.0], 1 / 4),
    ],
)
def test_permutation_test_is_hand_worked(first: list[float], second: list[float], p: float) -> None:
    """How many ways of dealing the values out give a difference as large, of all ways."""
    verdict = permutation_test(first, second)
    assert verdict.p == pytest.approx(p)
    assert verdict.smallest == pytest.approx((2 if len(first) == len(second) else 1) / _ways(first, second))


def _ways(first: list[float], second: list[float]) -> int:
    return math.comb(len(first) + len(second), len(first))


def test_permutation_test_agrees_with_brute_force() -> None:
    """All orders of five values, by counting."""
    values = [0.3, 1.1, 0.2, 2.0, 0.9]
    observed = abs(sum(values[:2]) / 2 - sum(values[2:]) / 3)
    orders = list(permutations(values))
    gaps = [abs(sum(order[:2]) / 2 - sum(order[2:]) / 3) for order in orders]
    expected = sum(gap >= observed - 1e-12 for gap in gaps) / len(orders)
    assert permutation_test(values[:2], values[2:]).p == pytest.approx(expected)


def test_large_groups_are_sampled_and_stay_near_the_exact_value() -> None:
    """Twelve against twelve, far apart: C(24, 12) ways are too many, and hardly one is as extreme."""
    verdict = permutation_test([float(n) for n in range(12)], [float(n + 50) for n in range(12)])
    assert 0 < verdict.p < 0.001


def test_seeds_that_a_test_needs() -> None:
    """2 / C(6, 3) = 0.1 is not below 0.05; 2 / C(8, 4) = 0.029 is."""
    assert seeds_for(0.05) == 4


def test_names_without_their_numbers() -> None:
    """What is left of a name is that of its group."""
    assert [stem(name) for name in ("bo-3", "bo_seed12", "bo", "7")] == ["bo", "bo_seed", "bo", "7"]


def test_studies_that_differ_only_in_their_seed_are_a_group(tmp_path: Path) -> None:
    """By what the journal says, not by names."""
    studies = [
        make_study(tmp_path, "x", 0, [(1.0,)], ONE),
        make_study(tmp_path, "y", 1, [(1.0,)], ONE),
        make_study(tmp_path, "z", 0, [(1.0,)], ONE, strategy="random"),
    ]
    groups = group_by_settings(studies)
    assert {name: [one.name for one in own] for name, own in groups.items()} == {
        "bo": ["x", "y"],
        "random": ["z"],
    }


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """One test draws; for the others that takes too long."""
    monkeypatch.setattr("hpo.comparison.figures.draw_curves", lambda *_: None)


def compared(root: Path, names: list[str], **options: Any) -> str:
    out = Console(file=io.StringIO(), width=300)
    settings = {"group": "auto", "objective": None, "to": root / "out"} | options
    assert compare(names, root, console=out, **settings) == 0
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_one_objective_over_seeds(tmp_path: Path) -> None:
    """Three seeds each, bo always better: the honest statement is that three seeds cannot show it."""
    for seed in range(3):
        make_study(tmp_path, f"a{seed}", seed, [(3.0,), (1.0 + seed / 10,), None], ONE)
        make_study(tmp_path, f"b{seed}", seed, [(3.0,), (2.0 + seed / 10,), (1.9,)], ONE, strategy="random")
    said = compared(tmp_path, ["a0", "a1", "a2", "b0", "b1", "b2"])
    assert "incumbent of loss (min)" in said
    assert "after 3 trials each" in said
    assert "final loss: bo is better than random, not shown to be beyond noise" in said
    assert "two-sided p = 0.1; the smallest that so few can give is 0.1: take 4 seeds each" in said
    rows = list(csv.DictReader((tmp_path / "out" / "curves.csv").open()))
    [last] = [row for row in rows if row["group"] == "bo" and row["axis"] == "trials" and row["x"] == "3.0"]
    assert float(last["loss_mean"]) == pytest.approx(1.1)
    hours = [float(row["x"]) for row in rows if row["group"] == "bo" and row["axis"] == "gpu_hours"]
    assert (hours[0], hours[-1]) == (0.25, 0.75)  # the failed trial was paid for too
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_several_objectives_share_one_reference_point(tmp_path: Path, no_picture: None) -> None:
    """It is shown in the objectives' own units: worst of the joint front plus a tenth of its range."""
    make_study(tmp_path, "a", 0, [(1.0, 0.5)], BOTH)
    make_study(tmp_path, "b", 0, [(2.0, 0.9)], BOTH, strategy="random")
    said = compared(tmp_path, ["a", "b"])
    assert "hypervolume within loss=2.1, accuracy=0.46: one reference point for all" in said
    assert "with a single study in a group nothing can be said of noise" in said


def test_different_objectives_are_refused_with_the_studies_names(tmp_path: Path, no_picture: None) -> None:
    """Unless one that all have is asked for."""
    make_study(tmp_path, "a", 0, [(1.0, 0.5)], BOTH)
    make_study(tmp_path, "b", 0, [(2.0,)], ONE)
    with pytest.raises(InputError) as refused:
        compared(tmp_path, ["a", "b"])
    assert refused.value.problems == [
        ("a", "optimises loss (min), accuracy (max)"),
        ("b", "optimises loss (min)"),
    ]
    assert "incumbent of loss" in compared(tmp_path, ["a", "b"], objective="loss")
    with pytest.raises(InputError, match="got accuracy: not in b"):
        compared(tmp_path, ["a", "b"], objective="accuracy")


def test_a_study_without_a_result_is_refused(tmp_path: Path, no_picture: None) -> None:
    """It has no curve."""
    make_study(tmp_path, "a", 0, [(1.0,)], ONE)
    make_study(tmp_path, "b", 0, [None], ONE)
    with pytest.raises(InputError, match="at least one completed trial: b has none"):
        compared(tmp_path, ["a", "b"])
