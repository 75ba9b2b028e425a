"""What proposals do not depend on: how many are asked for at a time, and the order of the objectives."""

from typing import Any

import pytest

from hpo.models.guard import guarded
from hpo.optimizer import Optimizer
from hpo.records import Params, ParamValue
from hpo.strategies import cell_tree

SPACE = {"x": "interval(0, 1)", "n": "range(1, 9)", "c": "choice(a, b)"}
STRATEGIES = ["bo", "sobol", "random", "lhs", "grid", "powers_of_two", "soo", "bamsoo", "nsga2"]
GRIDS = {"grid": {"x": "choice(0.1, 0.5, 0.9)"}, "powers_of_two": {"x": "choice(0.1, 0.5, 0.9)"}}


def measured(params: Params) -> dict[str, tuple[float, float]]:
    x, n = float(params["x"]), float(params["n"])
    return {"b": ((x - 0.3) ** 2 + n / 9, 0.05), "a": ((x - 0.8) ** 2 + (params["c"] == "a"), 0.05)}


def told(names: str, strategy: str = "bo", trials: int = 11, **settings: Any) -> Optimizer:
    """Eleven trials, one of them failed and one on its way: the replicate of four is due."""
    space = SPACE | GRIDS.get(strategy, {})
    own = Optimizer(space, dict.fromkeys(names, "min"), strategy, seed=4, **settings)
    source = Optimizer(space, own.objectives, "random", seed=6)
    for number, params in enumerate(source.ask(trials) if trials else []):
        if number == 3:
            own.tell_failure(params)
        elif number == 5:
            own.add_pending(params)
        else:
            own.tell(params, {name: measured(params)[name] for name in names})
    return own


def one_by_one(own: Optimizer, count: int) -> list[dict[str, ParamValue]]:
    return [params for _ in range(count) for params in own.ask(1)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("trials", [0, 11])
def test_four_at_a_time_are_four_one_by_one(
    strategy: str, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_tree, "_IDLE_SPLITS", 50)  # what was passed over has its turn sooner
    names = "a" if strategy.endswith("soo") else "ab"
    with guarded():
        assert told(names, strategy, trials).ask(4) == one_by_one(told(names, strategy, trials), 4)


def test_so_are_replicates_and_the_front_of_a_related_study() -> None:
    batch, single = told("ab", replicates=3), told("ab", replicates=3)
    helped, other = told("ab", trials=0), told("ab", trials=0)
    source = Optimizer(SPACE, dict.fromkeys("ab", "min"), "sobol", seed=1).ask(12)
    for own in (helped, other):
        own.learn_from([(params, measured(params)) for params in source])
    with guarded():
        assert batch.ask(2) == one_by_one(single, 2)
        assert helped.ask(7) == one_by_one(other, 7)


@pytest.mark.parametrize("strategy", ["bo", "nsga2"])
def test_objectives_in_another_order_lead_to_the_same_points(strategy: str) -> None:
    with guarded():
        assert told("ab", strategy).ask(3) == told("ba", strategy).ask(3)
