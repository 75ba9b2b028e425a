"""The strategies without a model, and the defaults of all of them."""

import itertools
import math

import pytest
from ruled_space import RULES

from hpo.optimizer import Optimizer
from hpo.space.sampling import sobol_points
from hpo.strategies.registry import CONF, STRATEGIES, default_settings, make_strategy

UNIT = {"a": "interval(0, 1)", "b": "interval(0, 1)"}


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_has_a_file_that_holds_all_its_defaults(name: str) -> None:
    import yaml

    assert yaml.safe_load((CONF / f"{name}.yaml").read_text())["name"] == name
    make_strategy(name, {})


def test_every_file_is_a_strategy() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(STRATEGIES)


def test_settings_override_the_file() -> None:
    assert default_settings("grid")["levels"] == 3
    optimizer = Optimizer({"a": "interval(0, 1)"}, {"y": "min"}, strategy="grid", levels=5, shuffle=False)
    assert [params["a"] for params in optimizer.ask(9)] == [0, 0.25, 0.5, 0.75, 1]


def test_a_grid_goes_through_all_combinations_in_order_or_shuffled() -> None:
    space = {"a": "interval(0, 1)", "c": "choice(x, y)"}
    plain = Optimizer(space, {"y": "min"}, strategy="grid", levels=2, shuffle=False).ask(9)
    assert plain == [{"a": a, "c": c} for a in (0.0, 1.0) for c in ("x", "y")]
    shuffled = Optimizer(space, {"y": "min"}, strategy="grid", levels=2, shuffle=True).ask(9)
    assert sorted(shuffled, key=str) == sorted(plain, key=str)


def test_powers_of_two_are_what_doubling_gives() -> None:
    space = {
        "rank": "range(6, 70)",
        "even": "range(12, 60, step=4)",
        "rate": "tag(log, interval(1e-4, 1e-3))",
        "dropout": "interval(0, 0.2)",
        "modules": "choice(qv, all)",
    }
    optimizer = Optimizer(space, {"y": "min"}, strategy="powers_of_two", levels=2)
    trials = optimizer.ask(1000)
    assert {params["rank"] for params in trials} == {8, 16, 32, 64}
    assert {params["even"] for params in trials} == {16, 32}
    assert sorted({float(params["rate"]) for params in trials}) == pytest.approx([1e-4, 2e-4, 4e-4, 8e-4])
    assert {params["dropout"] for params in trials} == {0.0, 0.2}
    assert {params["modules"] for params in trials} == {"qv", "all"}
    assert len(trials) == 4 * 2 * 4 * 2 * 2


def test_a_latin_hypercube_has_every_slice_once() -> None:
    trials = Optimizer(UNIT, {"y": "min"}, strategy="lhs", size=8).ask(8)
    for name in UNIT:
        assert sorted(int(float(params[name]) * 8) for params in trials) == list(range(8))


def test_sobol_points_fill_every_quarter_evenly() -> None:
    trials = Optimizer(UNIT, {"y": "min"}, strategy="sobol").ask(16)
    quarters = [(math.floor(2 * float(own["a"])), math.floor(2 * float(own["b"]))) for own in trials]
    assert {quarter: quarters.count(quarter) for quarter in quarters} == dict.fromkeys(
        [(0, 0), (0, 1), (1, 0), (1, 1)], 4
    )


def test_the_sobol_sequence_goes_on_where_it_stopped() -> None:
    whole = sobol_points(3, 1, 0)
    expected = [next(whole) for _ in range(70)]
    for start in (1, 5, 64, 69):
        assert next(sobol_points(3, 1, start)) == pytest.approx(expected[start])


def test_asking_one_by_one_gives_the_sobol_sequence_too() -> None:
    together = Optimizer(UNIT, {"y": "min"}, strategy="sobol", seed=4).ask(6)
    alone = Optimizer(UNIT, {"y": "min"}, strategy="sobol", seed=4)
    assert [alone.ask(1)[0] for _ in range(6)] == together


@pytest.mark.parametrize(("name", "expected"), [("grid", [1, 5, 9]), ("powers_of_two", [1, 2, 4, 8])])
def test_a_grid_ends_though_the_space_has_more(name: str, expected: list[int]) -> None:
    optimizer = Optimizer({"a": "range(1, 9)"}, {"y": "min"}, strategy=name, levels=3)
    assert sorted(int(params["a"]) for params in optimizer.ask(9)) == expected
    assert optimizer.ask(1) == []


@pytest.mark.parametrize("name", ["sobol", "random", "lhs", "grid", "powers_of_two"])
def test_strategies_keep_to_conditions_and_constraints(name: str) -> None:
    optimizer = Optimizer(RULES, {"y": "min"}, strategy=name)
    trials = optimizer.ask(12)
    assert len({str(params) for params in trials}) == 12
    for params in trials:
        assert int(params["rank"]) + int(params["alpha"]) <= 20
        assert params["alpha"] == round(float(params["ratio"]) * int(params["rank"]))
        assert ("momentum" in params) == (params["optimizer"] == "sgd")


@pytest.mark.parametrize("name", ["sobol", "random", "lhs"])
def test_asking_one_by_one_gives_the_same_where_points_are_refused(name: str) -> None:
    together = Optimizer(RULES, {"y": "min"}, strategy=name, seed=2).ask(20)
    alone = Optimizer(RULES, {"y": "min"}, strategy=name, seed=2)
    assert [alone.ask(1)[0] for _ in range(20)] == together


def test_refused_points_leave_the_others_where_they_are() -> None:
    """The first point of the sequence on the allowed side is the first proposal."""
    half = Optimizer(UNIT | {"constraints": ["a + b <= 1"]}, {"y": "min"}, strategy="sobol", seed=4).ask(4)
    whole = Optimizer(UNIT, {"y": "min"}, strategy="sobol", seed=4).ask(32)
    assert half == [own for own in whole if float(own["a"]) + float(own["b"]) <= 1][:4]


@pytest.mark.parametrize("name", ["sobol", "random", "lhs", "grid"])
def test_one_configuration_in_hundreds_is_found_and_the_end_is_clear(name: str) -> None:
    """b == 2 a leaves 40 of 3200 pairs, and of the nine of a grid (40, 80)."""
    space = {"a": "range(1, 40)", "b": "range(1, 80)", "constraints": ["b == 2 * a"]}
    optimizer = Optimizer(space, {"y": "min"}, strategy=name)
    trials = optimizer.ask(60)
    assert all(params["b"] == 2 * int(params["a"]) for params in trials)
    assert len({str(params) for params in trials}) == len(trials) == (1 if name == "grid" else 40)
    assert optimizer.ask(1) == []


@pytest.mark.slow
def test_proposals_in_a_narrow_region_are_spread_over_it() -> None:
    space = {"a": "range(1, 400)", "b": "range(1, 800)", "constraints": ["b == 2 * a"]}
    found = sorted(int(own["a"]) for own in Optimizer(space, {"y": "min"}, strategy="sobol").ask(32))
    assert max(right - left for left, right in itertools.pairwise(found)) < 60


def test_a_grid_leaves_out_what_is_not_allowed() -> None:
    space = {"a": "range(1, 3)", "b": "range(1, 3)", "constraints": ["a < b"]}
    trials = Optimizer(space, {"y": "min"}, strategy="grid", levels=3, shuffle=False).ask(9)
    assert trials == [{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 2, "b": 3}]


def test_a_grid_without_an_allowed_combination_moves_to_allowed_ones() -> None:
    space = {"a": "range(1, 40)", "constraints": ["10 <= a <= 12"]}
    optimizer = Optimizer(space, {"y": "min"}, strategy="grid", levels=2, shuffle=False)
    assert optimizer.ask(9) == [{"a": 10}, {"a": 12}]
