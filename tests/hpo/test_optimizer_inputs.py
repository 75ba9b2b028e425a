"""What an optimiser is given: any finite value, numbers of other libraries; what is no count and no seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from tiers import quick

from hpo.errors import InputError
from hpo.optimizer import Optimizer

SPACE = {"rate": "tag(log, interval(1e-5, 1e-2))", "rank": "range(4, 64, step=4)", "where": "choice(qv, all)"}
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def configurations(count: int) -> list[dict[str, Any]]:
    """The first of a design."""
    return Optimizer(SPACE, {"y": "min"}, strategy="sobol").ask(count)


@pytest.mark.parametrize("objectives", quick([{"y": "min"}, {"y": "min", "z": "max"}], [{"y": "min"}]))
@given(values=st.lists(st.tuples(FINITE, FINITE), min_size=6, max_size=8), error=st.none() | st.just(0.1))
@example(values=[(1e104 * k, 1e-109 * k) for k in range(1, 9)], error=None)
@example(values=[(1e308 * (-1) ** k, 5e-324 * k) for k in range(8)], error=0.1)
@example(values=[(10.0 ** (40 * k), 10.0 ** (-40 * k)) for k in range(8)], error=None)
@settings(max_examples=1, deadline=None, phases=[Phase.explicit, Phase.generate])  # a fit takes a second
def test_any_finite_values_lead_to_proposals(
    objectives: dict[str, str], values: list[tuple[float, float]], error: float | None
) -> None:
    """By the model, or by the recorded fallback; and the models can be looked at."""
    optimizer = Optimizer(SPACE, objectives)
    for params, pair in zip(configurations(len(values)), values, strict=True):
        optimizer.tell(params, {name: (value, error) for name, value in zip(objectives, pair, strict=False)})
    proposals = optimizer.propose(2)
    assert len(proposals) == 2
    assert all(each.origin == "model" or "failed" in each.note for each in proposals)
    optimizer.diagnostics()


@pytest.mark.parametrize("strategy", ["nsga2", "bamsoo", "soo"])
def test_huge_and_tiny_values_do_not_stop_other_strategies(strategy: str) -> None:
    """Whose populations and cells compare them."""
    optimizer = Optimizer(SPACE, {"y": "min"}, strategy=strategy)
    for exponent in (150, 300, -150, -300, 308, 0):
        [params] = optimizer.ask(1)
        optimizer.tell(params, {"y": 10.0**exponent})
    assert len(optimizer.ask(2)) == 2


@pytest.mark.parametrize("count", [0, -1, 2.5, "3", True, None, math.nan])
def test_a_count_is_a_whole_number_from_one_on(count: Any) -> None:
    """Everything else is refused with what was given."""
    with pytest.raises(InputError, match="ask: expected a whole number of at least 1, got"):
        Optimizer(SPACE, {"y": "min"}).ask(count)


@pytest.mark.parametrize("seed", ["x", 1.5, -1, True, None])
def test_a_seed_is_a_whole_number_from_zero_on(seed: Any) -> None:
    """A wrong one would give proposals that nobody can repeat."""
    with pytest.raises(InputError, match="seed: expected a whole number of at least 0, got"):
        Optimizer(SPACE, {"y": "min"}, seed=seed)


def test_numpy_counts_and_seeds_are_numbers() -> None:
    """They mean what they say."""
    pairs: list[tuple[Any, Any]] = [(3, 2), (np.int64(3), np.int32(2))]
    plain, numpy = (Optimizer(SPACE, {"y": "min"}, seed=seed).ask(count) for seed, count in pairs)
    assert plain == numpy


@pytest.mark.parametrize(
    ("name", "value", "means"),
    [
        ("rank", 64.0, 64),
        ("rank", np.int32(64), 64),
        ("rank", np.float64(64), 64),
        ("rate", np.float32(1e-3), float(np.float32(1e-3))),
        ("rate", np.float64(1e-3), 1e-3),
        ("where", np.str_("all"), "all"),
    ],
)
def test_parameters_of_other_number_types_mean_what_they_say(name: str, value: Any, means: object) -> None:
    """They are kept as plain numbers, as JSON has them."""
    params = {"rate": 1e-4, "rank": 8, "where": "qv", name: value}
    optimizer = Optimizer(SPACE, {"y": "min"})
    optimizer.tell(params, {"y": 1.0})
    [told] = optimizer.to_json()["told"]
    assert (told["params"][name], type(told["params"][name])) == (means, type(means))


@pytest.mark.parametrize("value", [10**400, -(10**400), 10.0**308 * 10])
def test_numbers_that_no_float_holds_are_refused(value: Any) -> None:
    """By key, as every other value that is not finite; also as a parameter."""
    optimizer = Optimizer(SPACE, {"y": "min"})
    params: dict[str, Any] = {"rate": 1e-4, "rank": 8, "where": "qv"}
    with pytest.raises(InputError, match=r"metrics\.y: expected a finite number"):
        optimizer.tell(params, {"y": value})
    with pytest.raises(InputError, match="rate"):
        optimizer.tell({**params, "rate": value}, {"y": 1.0})
    assert optimizer.history.observations == ()


def test_numpy_values_are_told_as_numbers() -> None:
    """Of any precision."""
    half: Any = (np.float32(0.5), np.float64(0.25))
    optimizer = Optimizer(SPACE, {"y": "min"})
    optimizer.tell({"rate": 1e-4, "rank": 8, "where": "qv"}, {"y": half})
    assert optimizer.history.observations[0].values == (0.5,)
