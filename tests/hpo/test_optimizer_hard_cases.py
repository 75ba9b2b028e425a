"""Studies that used to go astray: thresholds out of reach, nothing but failures, a few outliers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tiers import quick

from hpo.models.guard import guarded
from hpo.models.reference_point import infer_references, unreached
from hpo.models.surrogate import fit_surrogate
from hpo.models.transforms import cliff_floor, outlier_floor
from hpo.objectives import Direction, Objective
from hpo.optimizer import Optimizer
from hpo.records import Params

SPACE = {"x": "interval(0, 1)", "z": "interval(0, 1)"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with guarded():
        yield


def bowl(params: Params, at: float = 0.3) -> float:
    return (float(params["x"]) - at) ** 2 + (float(params["z"]) - 0.6) ** 2


def told(objectives: dict[str, Any], count: int = 12) -> Optimizer:
    own = Optimizer(SPACE, objectives, seed=1)
    for params in Optimizer(SPACE, objectives, "sobol", seed=2).ask(count):
        own.tell(params, {name: bowl(params, 0.3 + 0.4 * k) for k, name in enumerate(objectives)})
    return own


@pytest.mark.parametrize("threshold", quick([-1.0, -1e6], [-1.0]))
def test_a_threshold_that_nothing_reaches_changes_no_proposal_and_is_named(threshold: float) -> None:
    plain = told({"a": "min", "b": "min"}).propose(2)
    bound = told({"a": Objective(Direction.MIN, threshold), "b": "min"}).propose(2)
    assert [own.params for own in bound] == [own.params for own in plain]
    assert bound[0].note == "no result reaches the threshold of a"


def test_a_threshold_that_something_reaches_is_the_reference() -> None:
    own = told({"a": Objective(Direction.MIN, 0.2), "b": "min"})
    surrogate = fit_surrogate(own.history)
    assert unreached(surrogate, own.objectives) == []
    near = infer_references(surrogate, list(own.history.objectives.values())).near
    assert near[0] == pytest.approx(float(surrogate.transforms[0].gained(np.array(-0.2))))


def test_failures_alone_say_where_to_look() -> None:
    """Twelve failures, all at x < 0.5: what follows is on the other side, without any success."""
    own = Optimizer(SPACE, {"a": "min"}, seed=1)
    for params in Optimizer(SPACE, {"a": "min"}, "sobol", seed=2).ask(12):
        own.tell_failure(params | {"x": float(params["x"]) / 2})
    followed = own.ask(4)
    assert all(float(params["x"]) > 0.6 for params in followed)
    assert np.std([float(params["z"]) for params in followed]) > 0.1, "a batch spreads"


def outlying(values: dict[int, float]) -> Optimizer:
    """Sixteen noiseless values of a bowl, but for those given by number."""
    own = Optimizer(SPACE, {"a": "min"}, seed=1)
    for number, params in enumerate(Optimizer(SPACE, {"a": "min"}, "sobol", seed=2).ask(16)):
        own.tell(params, {"a": values.get(number, 0.8 + 0.1 * bowl(params))})
    return own


def test_a_few_outliers_stall_nothing() -> None:
    """Two values of 20 among 0.8: the next points are near the optimum, as without them."""
    with_them, without = outlying({4: 20.0, 9: 20.0}), outlying({})
    surrogate = fit_surrogate(with_them.history)
    assert surrogate.note == "outliers cut off of a"
    assert min(map(bowl, with_them.ask(3))) < 0.02
    assert min(map(bowl, without.ask(3))) < 0.02


def test_without_outliers_nothing_is_cut_off() -> None:
    assert "outliers" not in fit_surrogate(outlying({}).history).note


@pytest.mark.parametrize(
    ("values", "floor"),
    [
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, -200.0], 0.0),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 200.0], None),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], None),
        ([0.0, 1.0, 2.0, -200.0], None),
        ([0.0] * 7 + [-1.0] * 3, None),
    ],
    ids=["far worse", "far better", "none", "too few to say", "a third of all"],
)
def test_only_a_few_values_far_worse_are_outliers(values: list[float], floor: float | None) -> None:
    assert outlier_floor(np.array(values)) == floor


@pytest.mark.parametrize(
    ("values", "floor"),
    [
        ([0.3, 0.35, 0.4, 0.45, 0.5, 0.55, -0.9, -0.9, -0.9, -0.8], 0.3),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 200.0], None),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], None),
        ([1.0] * 10, None),
        ([0.0, 1.0, 2.0, -200.0], None),
    ],
    ids=["two fifths lost", "far better", "even", "all equal", "too few to say"],
)
def test_a_wide_gap_below_the_median_may_be_a_cliff(values: list[float], floor: float | None) -> None:
    assert cliff_floor(np.array(values)) == floor


def test_beyond_a_cliff_values_are_cut_off() -> None:
    """Two fifths of a slope end in a plateau far above: the slope alone is foretold better."""
    own = Optimizer({"x": "interval(0, 1)", "y": "interval(0, 1)"}, {"loss": "min"}, "sobol", seed=2)
    for params in own.ask(24):
        x, y = float(params["x"]), float(params["y"])
        own.tell(params, {"loss": 0.9 if x > 0.6 else 0.3 - 0.2 * x + 0.1 * (y - 0.4) ** 2})
    assert fit_surrogate(own.history).note == "outliers cut off of loss"
