"""The evolutionary strategy: what it finds, what it proposes, and what its proposals depend on."""

import json
import math
import random
from typing import Any

import numpy as np
import pytest
from ruled_space import RULES

from hpo.errors import InputError
from hpo.models.history import Proposal
from hpo.optimizer import Optimizer, Origin
from hpo.pareto import hypervolume
from hpo.records import Params
from hpo.strategies.nsga2 import children

CUBE = {f"x{index}": "interval(0, 1)" for index in range(6)}
TWO = {"a": "min", "b": "min"}
MIXED = {
    "rate": "tag(log, interval(1e-4, 1e-1))",
    "rank": "range(2, 64, step=2)",
    "modules": "choice(qv, attention, all)",
}


def zdt1(params: Params) -> dict[str, float]:
    """A front of two objectives where every parameter but the first one is 0 [Zitzler2000]."""
    first, *others = map(float, params.values())
    g = 1 + 9 * sum(others) / len(others)
    return {"a": first, "b": g * (1 - math.sqrt(first / g))}


def mixed(params: Params) -> dict[str, float]:
    """Best at a rate of 1e-2 with all modules; a higher rank costs time."""
    loss = (
        (math.log10(float(params["rate"])) + 2) ** 2 + (params["modules"] != "all") + 4 / int(params["rank"])
    )
    return {"a": loss, "b": float(params["rank"])}


def found(strategy: str, seed: int, trials: int = 120) -> float:
    """The hypervolume of what a study of ZDT1 finds."""
    optimizer = Optimizer(CUBE, TWO, strategy=strategy, seed=seed)
    for _ in range(trials // 6):
        for params in optimizer.ask(6):
            optimizer.tell(params, zdt1(params))
    return hypervolume([own.values for own in optimizer.history.observations], (1.1, 5.0))


def after(trials: int = 30, seed: int = 0, space: Any = None, **settings: Any) -> Optimizer:
    """An optimizer that was told its own proposals, in batches of 5."""
    optimizer = Optimizer(space or MIXED, TWO, strategy="nsga2", seed=seed, **settings)
    for _ in range(trials // 5):
        for params in optimizer.ask(5):
            optimizer.tell(params, mixed(params))
    return optimizer


def origins(proposals: list[Proposal]) -> list[Origin]:
    return [own.origin for own in proposals]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_a_better_front_than_random_points(seed: int) -> None:
    assert found("nsga2", seed) > 1.1 * found("random", seed)


def test_one_objective_is_minimised() -> None:
    best = {}
    for strategy in ("nsga2", "random"):
        optimizer = Optimizer(CUBE, {"y": "min"}, strategy=strategy)
        for _ in range(20):
            for params in optimizer.ask(6):
                optimizer.tell(params, {"y": sum((float(value) - 0.3) ** 2 for value in params.values())})
        best[strategy] = min(own.values[0] for own in optimizer.history.observations)
    assert best["nsga2"] < 0.5 * best["random"]


def test_the_design_comes_first_and_says_so() -> None:
    optimizer = Optimizer(MIXED, TWO, strategy="nsga2", population=4)
    design = optimizer.propose(3)
    assert {(own.origin, own.note) for own in design} == {(Origin.SOBOL, "initial design")}
    for own in design:
        optimizer.tell(own.params, mixed(own.params))
    assert origins(optimizer.propose(3)) == [Origin.SOBOL, Origin.EVOLUTION, Origin.EVOLUTION]


@pytest.mark.parametrize(("dimensions", "expected"), [(2, 10), (6, 12), (15, 20)])
def test_the_design_grows_with_the_parameters(dimensions: int, expected: int) -> None:
    """Twice their number, from 10 to 20."""
    space = {f"x{index}": "interval(0, 1)" for index in range(dimensions)}
    optimizer = Optimizer(space, {"y": "min"}, strategy="nsga2")
    optimizer.tell(dict.fromkeys(space, 0.5), {"y": 1.0})
    assert origins(optimizer.propose(30)).count(Origin.SOBOL) == expected - 1


def test_without_results_the_design_goes_on_and_says_why() -> None:
    optimizer = Optimizer(MIXED, TWO, strategy="nsga2", population=4)
    optimizer.ask(4)
    [own] = optimizer.propose(1)
    assert (own.origin, own.note) == (Origin.SOBOL, "no parents yet: results 0, needed 1")


def test_told_in_another_order_it_proposes_the_same() -> None:
    first = after()
    pending = first.ask(3)
    first.tell_failure(pending[0], "out_of_memory")
    facts = [(own.point, own.values) for own in first.history.observations]
    second = Optimizer(MIXED, TWO, strategy="nsga2")
    for params in pending[:0:-1]:
        second.add_pending(params)
    second.tell_failure(pending[0], "out_of_memory")
    for point, (a, b) in random.Random(1).sample(facts, len(facts)):
        second.tell(second.space.from_unit(point), {"a": a, "b": b})
    assert second.propose(6) == first.propose(6)


def test_a_restart_changes_nothing() -> None:
    """Rebuilt from JSON in the middle, a study goes on as it would have."""
    whole = after()
    again = Optimizer.from_json(json.loads(json.dumps(after(15).to_json())))
    for _ in range(3):
        for params in again.ask(5):
            again.tell(params, mixed(params))
    assert again.history == whole.history
    assert again.propose(4) == whole.propose(4)


def test_another_seed_has_other_children_of_the_same_parents() -> None:
    def proposals(seed: int) -> list[Proposal]:
        optimizer = Optimizer(MIXED, TWO, strategy="nsga2", seed=seed)
        for own in after().history.observations:
            params = optimizer.space.from_unit(own.point)
            optimizer.tell(params, mixed(params))
        return optimizer.propose(4)

    assert origins(proposals(0)) == origins(proposals(1)) == [Origin.EVOLUTION] * 4
    assert proposals(0) != proposals(1)


def test_it_leaves_the_global_random_numbers_alone() -> None:
    optimizer = after()
    np.random.seed(3)  # noqa: NPY002  # the global state is the question
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    optimizer.propose(4)
    assert np.random.random() == expected  # noqa: NPY002


def test_children_of_pending_trials_differ_from_them() -> None:
    """Asked again and again without a result, it never repeats itself."""
    optimizer = after()
    trials = [params for _ in range(12) for params in optimizer.ask(5)]
    told = [optimizer.space.from_unit(own.point) for own in optimizer.history.observations]
    assert len({str(params) for params in trials + told}) == 60 + 30


def test_failures_have_no_children() -> None:
    """Failures fill one half of the range: children of what worked stay near it."""
    optimizer = Optimizer({"x": "interval(0, 1)", "z": "interval(0, 1)"}, TWO, strategy="nsga2")
    for index in range(24):
        params = {"x": (index + 0.5) / 24, "z": (index * 5 % 24) / 24}
        if params["x"] < 0.25:
            optimizer.tell(params, {"a": -params["x"], "b": params["z"]})
        else:
            optimizer.tell_failure(params, "out_of_memory")
    proposals = optimizer.propose(20)
    assert origins(proposals) == [Origin.EVOLUTION] * 20
    assert sum(float(own.params["x"]) < 0.4 for own in proposals) >= 18


def test_a_point_told_often_is_one_parent_with_the_mean() -> None:
    """Twenty measurements of one point leave room for the others; its lucky one alone does not count."""
    optimizer = Optimizer({"c": "choice(a, b, c, d)", "x": "interval(0, 1)"}, {"y": "min"}, strategy="nsga2")
    for number in range(20):
        optimizer.tell({"c": "a", "x": 0.1}, {"y": -100.0 if number == 0 else 100.0})
    optimizer.tell({"c": "b", "x": 0.8}, {"y": 0.0})
    [survivor] = {
        round(point[1], 1) for point, _ in zip(children(optimizer.history, 1), range(4), strict=False)
    }
    assert survivor == 0.8


def test_choices_are_exchanged_and_redrawn_but_never_in_between() -> None:
    """The middle of three choices is no more likely a child of its neighbours than of chance."""
    optimizer = Optimizer({"c": "choice(l, m, r)", "x": "interval(0, 1)"}, {"y": "min"}, strategy="nsga2")
    for number in range(10):
        optimizer.tell({"c": "lr"[number % 2], "x": number / 9}, {"y": 1.0})
    born = [point[0] for point, _ in zip(children(optimizer.history, 10), range(300), strict=False)]
    assert set(born) == {1 / 6, 0.5, 5 / 6}
    assert 0.08 < born.count(0.5) / 300 < 0.28  # half are redrawn, a third of those to the middle


def test_children_keep_to_conditions_and_constraints() -> None:
    optimizer = Optimizer(RULES, {"y": "min"}, strategy="nsga2")
    for _ in range(8):
        proposals = optimizer.propose(5)
        for own in proposals:
            assert optimizer.space.contains(own.params)
            optimizer.tell(own.params, {"y": -float(own.params["alpha"])})
    assert Origin.EVOLUTION in origins(proposals)
    assert len(optimizer.history.taken) == 40


@pytest.mark.parametrize(
    ("space", "size"),
    [
        ({"a": "choice(x, y)", "b": "range(1, 9)"}, 18),
        ({"a": "range(1, 40)", "b": "range(1, 80)", "constraints": ["b == 2 * a"]}, 40),
    ],
    ids=["plain", "narrow"],
)
def test_a_finite_space_ends(space: dict[str, object], size: int) -> None:
    optimizer = Optimizer(space, {"y": "min"}, strategy="nsga2")
    trials: list[Params] = []
    while batch := optimizer.ask(4):
        trials += batch
        for params in batch:
            optimizer.tell(params, {"y": float(params["b"])})
    assert len({str(params) for params in trials}) == len(trials) == size


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match=r"strategy\.population: .* greater than or equal to 2"):
        Optimizer(MIXED, TWO, strategy="nsga2", population=1)


def test_a_missing_library_is_named_before_the_study_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo.strategies.nsga2.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"nsga2 needs pymoo.*pip install 'frontrunner\[nsga2\]'"):
        Optimizer(MIXED, TWO, strategy="nsga2")
