"""Ask and tell: what is proposed, what is refused, and what the proposals depend on."""

import itertools
import json
import math
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tiers import quick

from hpo.errors import InputError
from hpo.optimizer import Optimizer, Origin
from hpo.records import Metric, Params

SPACE = {
    "learning_rate": "tag(log, interval(1e-4, 1e-2))",
    "lora_rank": "range(2, 32, step=2)",
    "target_modules": "choice(qv, attention, all)",
}
OBJECTIVES = {"eval_loss": "min", "tokens_per_second": "max"}
STRATEGIES = ["bo", "nsga2", "sobol", "random", "lhs", "grid", "powers_of_two"]


def measure(params: Params) -> dict[str, float | tuple[float, float | None]]:
    """A smooth loss with its best at 1e-3 and rank 16, and a speed that falls with the rank."""
    rank = float(params["lora_rank"])
    distance = math.log10(float(params["learning_rate"])) + 3
    loss = 2 + distance**2 + (rank - 16) ** 2 / 400 + 0.2 * (params["target_modules"] == "qv")
    return {"eval_loss": (loss, 0.01), "tokens_per_second": 1000 / rank}


def build(strategy: str = "bo", seed: int = 0, **settings: Any) -> Optimizer:
    return Optimizer(SPACE, OBJECTIVES, strategy=strategy, seed=seed, **settings)


def key(params: Params) -> tuple[object, ...]:
    return tuple(params.values())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_proposals_belong_to_the_space_and_never_repeat(strategy: str) -> None:
    """Neither within a batch nor among what is pending, told, failed or given up."""
    optimizer, seen = build(strategy), set[tuple[object, ...]]()
    told = itertools.cycle(["told", "pending", "failed", "nothing"])
    for _ in range(3):
        for params in optimizer.ask(4):
            assert optimizer.space.contains(params)
            assert key(params) not in seen
            seen.add(key(params))
            match next(told):
                case "told":
                    optimizer.tell(params, measure(params))
                case "failed":
                    optimizer.tell_failure(params, reason="out_of_memory")
                case "nothing":
                    optimizer.tell_nothing(params)
    assert len(seen) == 12


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rebuilt_optimizer_told_in_another_order_proposes_the_same(strategy: str) -> None:
    first = build(strategy, seed=3)
    trials = first.ask(5) + first.ask(4)
    for params in trials[:6]:
        first.tell(params, measure(params))
    first.tell_failure(trials[6], "diverged")
    second = build(strategy, seed=3)
    second.add_pending(trials[8])
    second.tell_failure(trials[6], "diverged")
    for params in random.Random(1).sample(trials[:6], 6):
        second.tell(params, measure(params))
    second.add_pending(trials[7])
    assert second.propose(3) == first.propose(3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_another_seed_gives_other_proposals(strategy: str) -> None:
    assert build(strategy, seed=0).ask(4) != build(strategy, seed=1).ask(4)


def test_the_model_takes_over_after_the_initial_design_and_says_so() -> None:
    optimizer = build(initial=4)
    design = optimizer.propose(4)
    assert {own.note for own in design} == {"initial design"}
    assert [own.origin for own in design] == [Origin.CENTRE, Origin.SOBOL, Origin.SOBOL, Origin.SOBOL]
    assert optimizer.space.to_unit(design[0].params) == optimizer.space.round((0.5, 0.5, 0.5))
    for own in design:
        optimizer.tell(own.params, measure(own.params))
    assert {own.origin for own in optimizer.propose(2)} == {Origin.MODEL}


def test_a_batch_across_the_end_of_the_design_has_both_origins() -> None:
    optimizer = build(initial=5)
    for params in optimizer.ask(3):
        optimizer.tell(params, measure(params))
    origins = [own.origin for own in optimizer.propose(4)]
    assert origins == [Origin.SOBOL, Origin.SOBOL, Origin.MODEL, Origin.MODEL]


def test_without_results_the_design_goes_on() -> None:
    optimizer = build(initial=4)
    optimizer.ask(4)
    [own] = optimizer.propose(1)
    assert own.origin is Origin.SOBOL
    assert "results 0" in own.note


def test_pending_points_move_the_next_proposal_away() -> None:
    """The same results with the first proposal pending bring another, not a neighbour a hair away."""
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"y": "min"}, seed=0, initial=4)
    for x in (0.0, 0.3, 0.6, 1.0):
        optimizer.tell({"x": x}, {"y": (x - 0.45) ** 2})
    [first], [second] = optimizer.ask(1), optimizer.ask(1)
    assert abs(float(first["x"]) - float(second["x"])) > 1e-3


def test_the_model_finds_the_minimum_of_a_parabola() -> None:
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"y": "min"}, seed=0, initial=4)
    for _ in range(6):
        for params in optimizer.ask(2):
            optimizer.tell(params, {"y": (float(params["x"]) - 0.37) ** 2})
    best = min(optimizer.history.observations, key=lambda own: own.values)
    assert best.point[0] == pytest.approx(0.37, abs=0.01)


def test_a_maximised_objective_is_maximised() -> None:
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"y": "max"}, seed=0, initial=4)
    for _ in range(6):
        for params in optimizer.ask(2):
            optimizer.tell(params, {"y": 5 - (float(params["x"]) - 0.37) ** 2})
    best = min(optimizer.history.observations, key=lambda own: own.values)
    assert best.point[0] == pytest.approx(0.37, abs=0.01)


def test_a_feasibility_prior_keeps_proposals_out_of_where_trials_would_fail() -> None:
    """Everything good lies where memory is foretold not to suffice: x above one half. Nothing failed yet.

    With it there is noise: without any, nothing is left to gain below one half after the first one.
    """

    def proposals(prior: Callable[[Params], float] | None, noise: float = 0.0) -> list[float]:
        optimizer = Optimizer(
            {"x": "interval(0, 1)", "z": "interval(0, 1)"}, {"y": "min"}, feasibility_prior=prior
        )
        for index in range(10):
            params = {"x": (index + 0.5) / 20, "z": (index * 3 % 10) / 10}
            optimizer.tell(params, {"y": -params["x"] + noise * (-1) ** index})
        return [float(params["x"]) for params in optimizer.ask(2)]

    assert max(proposals(None)) > 0.7
    assert max(proposals(lambda params: 0.02 if float(params["x"]) > 0.5 else 0.98, noise=0.01)) < 0.51


def test_after_failures_in_a_region_proposals_keep_out_of_it() -> None:
    """Everything good lies where trials fail: x above one half. Without the failures the model goes there."""

    def proposals(learn_failures: bool) -> list[float]:
        optimizer = Optimizer({"x": "interval(0, 1)", "z": "interval(0, 1)"}, {"y": "min"}, initial=4)
        for index in range(12):
            params = {"x": (index + 0.5) / 12, "z": (index * 5 % 12) / 12}
            if params["x"] < 0.5:
                optimizer.tell(params, {"y": -params["x"]})
            elif learn_failures:
                optimizer.tell_failure(params, "out_of_memory")
        return [float(params["x"]) for params in optimizer.ask(4)]

    assert max(proposals(learn_failures=False)) > 0.7
    assert max(proposals(learn_failures=True)) < 0.7


@pytest.mark.parametrize("strategy", ["grid", "sobol", "random", "lhs", "bo", "nsga2"])
def test_a_finite_space_ends_with_fewer_and_then_no_proposals(strategy: str) -> None:
    optimizer = Optimizer({"a": "choice(x, y)", "b": "range(1, 3)"}, {"y": "min"}, strategy=strategy)
    counts = []
    for _ in range(3):
        batch = optimizer.ask(4)
        counts.append(len(batch))
        for params in batch:
            optimizer.tell(params, {"y": float(params["b"])})
    assert counts == [4, 2, 0]


def test_a_space_of_one_choice_is_tried_once() -> None:
    optimizer = Optimizer({"a": "choice(x)", "b": 3}, {"y": "min"})
    assert optimizer.ask(4) == [{"a": "x", "b": 3}]
    optimizer.tell({"a": "x", "b": 3}, {"y": 1.0})
    assert optimizer.ask(4) == []


@pytest.mark.parametrize("scale", quick([1e-9, 1.0, 1e9], [1e9]))
def test_the_scale_of_an_objective_changes_no_proposal_by_much(scale: float) -> None:
    def proposal(factor: float) -> float:
        optimizer = Optimizer({"x": "interval(0, 1)"}, {"y": "min", "t": "min"}, initial=4)
        for x in (0.05, 0.3, 0.6, 0.95):
            optimizer.tell({"x": x}, {"y": factor * ((x - 0.5) ** 2 - 0.1), "t": x})
        return float(optimizer.ask(1)[0]["x"])

    assert proposal(scale) == pytest.approx(proposal(1.0), abs=0.02)


@pytest.mark.parametrize(
    "results",
    [
        pytest.param(
            [({"x": 0.5}, 1.0)] * 300 + [({"x": 0.25}, 2.0)], id="300 duplicates", marks=pytest.mark.slow
        ),
        pytest.param(
            [({"x": index / 9}, 7.0) for index in range(10)], id="all equal", marks=pytest.mark.slow
        ),
        pytest.param([({"x": index / 9}, 0.0) for index in range(10)], id="all zero", marks=pytest.mark.slow),
        pytest.param([({"x": 0.5}, 1.0)], id="one point"),
        pytest.param([({"x": index / 9}, None) for index in range(10)], id="all failed"),
        pytest.param([({"x": index / 9}, 10.0**index) for index in range(10)], id="ten magnitudes"),
        pytest.param(
            [({"x": 0.5 + index * 1e-9}, float(index)) for index in range(10)],
            id="contradictions",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_hard_histories_still_bring_proposals(results: list[tuple[dict[str, float], float | None]]) -> None:
    optimizer = Optimizer({"x": "interval(0, 1)", "c": "choice(a, b)"}, {"y": "min", "z": "max"}, initial=1)
    for params, value in results:
        if value is None:
            optimizer.tell_failure({**params, "c": "a"})
        else:
            optimizer.tell({**params, "c": "a"}, {"y": value, "z": (value, 0.1)})
    assert len(optimizer.ask(4)) == 4


def test_a_fit_that_fails_goes_on_with_sobol_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    def refuse(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("not positive definite")

    optimizer = build(seed=9, initial=4)  # a history of its own: fits are remembered
    for params in optimizer.ask(4):
        optimizer.tell(params, measure(params))
    monkeypatch.setattr("hpo.models.fit.psd_safe_cholesky", refuse)
    proposals = optimizer.propose(2)
    assert [own.origin for own in proposals] == [Origin.SOBOL] * 2
    assert all(own.note.startswith("the fit failed: ") for own in proposals)


@pytest.mark.parametrize("strategy", ["bo", "lhs"])
def test_an_optimizer_survives_json(strategy: str) -> None:
    """Every kind of fact is in it, both directions, and what follows is the same."""
    settings = {"initial": 4} if strategy == "bo" else {"size": 6}
    optimizer = build(strategy, seed=5, **settings)
    trials = optimizer.ask(7)
    for params in trials[:4]:
        optimizer.tell(params, measure(params))
    optimizer.tell_failure(trials[4], "diverged")
    optimizer.tell_nothing(trials[5])
    again = Optimizer.from_json(json.loads(json.dumps(optimizer.to_json())))
    assert again.to_json() == optimizer.to_json()
    assert again.propose(2) == optimizer.propose(2)


def test_a_record_of_another_version_is_refused() -> None:
    with pytest.raises(InputError, match="schema_version: expected 1, got 99"):
        Optimizer.from_json({**build().to_json(), "schema_version": 99})


def test_told_values_settle_one_pending_trial_each() -> None:
    optimizer = build()
    [params] = optimizer.ask(1)
    optimizer.add_pending(params)
    optimizer.tell(params, measure(params))
    assert len(optimizer.history.pending) == 1
    assert optimizer.history.asked == 2


def test_values_come_plain_with_an_error_or_as_a_metric() -> None:
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"y": "max"})
    for value in (2.0, (2.0, 0.5), (2.0, None), Metric(2.0, 0.5)):
        optimizer.tell({"x": 0.5}, {"y": value})
    observed = optimizer.history.observations
    assert [own.values for own in observed] == [(-2.0,)] * 4
    assert sorted(str(own.errors[0]) for own in observed) == ["0.5", "0.5", "nan", "nan"]


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ({"y": math.nan}, "metrics.y: expected a finite number, got nan"),
        ({"y": -math.inf}, "metrics.y: expected a finite number, got -inf"),
        ({"y": "1"}, "metrics.y: expected a finite number, got '1'"),
        ({"y": (1.0, -1.0)}, "metrics.y: expected a standard error of 0 or above, got -1.0"),
        ({"y": (1.0, 2.0, 3.0)}, "metrics.y: expected a value or (value, standard error)"),
        ({}, "metrics.y: expected a value of this objective, got none"),
        ({"y": 1.0, "z": 2.0}, "metrics.z: no such objective: expected y"),
    ],
)
def test_a_result_that_cannot_be_learned_is_refused_whole(metrics: dict[str, float], text: str) -> None:
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"y": "min"})
    with pytest.raises(InputError) as caught:
        optimizer.tell({"x": 0.5}, metrics)
    assert text in str(caught.value)
    assert optimizer.history.asked == 0


@pytest.mark.parametrize("told", ["tell", "tell_failure", "tell_nothing", "add_pending"])
def test_a_configuration_off_the_space_is_refused(told: str) -> None:
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"y": "min"})
    arguments = [{"y": 1.0}] if told == "tell" else []
    with pytest.raises(InputError, match=r"params\.x: expected a number from 0 to 1, got 2"):
        getattr(optimizer, told)({"x": 2}, *arguments)
    assert optimizer.history.asked == 0


def test_every_problem_of_the_set_up_is_named_together() -> None:
    with pytest.raises(InputError) as caught:
        Optimizer({"x": "interval(5, 1)"}, {"y": "down"}, strategy="bo", initial=0, speed=3)
    assert [path for path, _ in caught.value.problems] == [
        "space.x",
        "objectives.y.direction",
        "strategy.initial",
        "strategy.speed",
    ]


def test_an_unknown_strategy_is_named_with_those_there_are() -> None:
    with pytest.raises(
        InputError, match=r"strategy\.name: unknown strategy 'annealing': expected one of bo, "
    ):
        Optimizer({"x": "interval(0, 1)"}, {"y": "min"}, strategy="annealing")


def test_less_than_one_proposal_cannot_be_asked_for() -> None:
    with pytest.raises(InputError, match="at least 1, got 0"):
        build().ask(0)


def test_importing_the_optimizer_loads_neither_torch_nor_hydra() -> None:
    code = (
        "import sys, hpo.optimizer, hpo.space.space, hpo.objectives, hpo.pareto\n"
        "print(sorted({'torch', 'botorch', 'gpytorch', 'hydra', 'omegaconf', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
