"""The strategies without a model, and the defaults of all of them."""

import math

import pytest

from hpo.optimizer import Optimizer
from hpo.strategies import CONF, STRATEGIES, default_settings, make_strategy
from hpo.strategies.sobol import sobol_points

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
