"""Gains per GPU-second: what is foretold of a trial's cost, and where it sends proposals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from hpo.errors import InputError
from hpo.models.early import cost
from hpo.models.early.cost import cost_weight
from hpo.optimizer import Optimizer, Origin

LINE = {"x": "interval(0, 1)"}
# in pairs that mirror each other at a half
PLACES = (0.05, 0.1, 0.35, 0.4, 0.45, 0.55, 0.6, 0.65, 0.9, 0.95)
EVEN = "lognei"
DIVIDED = "lognei_per_gpu_second"


def wells(x: float) -> float:
    """Two wells alike, at 0.2 and 0.8."""
    return min((x - 0.2) ** 2, (x - 0.8) ** 2)


def told(
    acquisition: str,
    gpu_seconds: Callable[[float], float | None],
    places: Iterable[float] = PLACES,
    **settings: Any,
) -> Optimizer:
    """Both wells, and what each trial took."""
    optimizer = Optimizer(LINE, {"y": "min"}, acquisition=acquisition, initial=2, **settings)
    for x in places:
        optimizer.tell({"x": x}, {"y": wells(x)}, gpu_seconds(x))
    return optimizer


def cheap_left(x: float) -> float:
    return 100.0 if x < 0.5 else 1000.0


def cheap_right(x: float) -> float:
    return cheap_left(1.0 - x)


def unknown(x: float) -> None:
    """Nobody measured."""


def test_the_weight_is_minus_the_logarithm_by_hand() -> None:
    """Five trials of 100 GPU-seconds and five of 1,000: half of log 10 either side of their mean."""
    weight, note = cost_weight(told(DIVIDED, cheap_left).history)
    assert weight is not None
    assert note == ""
    found = weight(torch.tensor([[x] for x in PLACES], dtype=torch.float64))
    half = math.log(10) / 2
    assert found.tolist() == pytest.approx([half] * 5 + [-half] * 5, abs=0.05)


def test_costs_between_those_that_are_known_are_foretold() -> None:
    """Costs of exp(3 x): at places that nobody tried the weight is -3 x, but for a constant."""
    weight, _ = cost_weight(told(DIVIDED, lambda x: math.exp(3 * x)).history)
    assert weight is not None
    X = torch.tensor([[0.0], [0.25], [0.5], [0.75], [1.0]], dtype=torch.float64)
    steps = [after - before for before, after in pairwise(weight(X).tolist())]
    assert steps == pytest.approx([-0.75] * 4, abs=0.02)


def test_the_weight_has_a_gradient() -> None:
    """By which the search for the next point climbs."""
    weight, _ = cost_weight(told(DIVIDED, lambda x: math.exp(3 * x)).history)
    assert weight is not None
    X = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(weight(X).sum(), X)
    assert float(slope) == pytest.approx(-3.0, abs=0.1)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("gpu_seconds", "left"), [(cheap_left, True), (cheap_right, False)])
def test_of_two_gains_alike_the_tenfold_cheaper_is_proposed(
    gpu_seconds: Callable[[float], float], left: bool, seed: int
) -> None:
    [proposal] = told(DIVIDED, gpu_seconds, seed=seed).propose()
    assert proposal.origin is Origin.MODEL
    assert (float(proposal.params["x"]) < 0.5) is left


OTHERS = [("qlogei", "a"), ("qlognehvi", "ab"), ("qlognparego", "ab")]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("auto", "a"),
        ("auto", "ab"),
        *(pytest.param(*given, marks=pytest.mark.slow) for given in OTHERS),
    ],
)
def test_any_logarithm_of_a_gain_is_divided(kind: str, names: str) -> None:
    """Two objectives that are at odds on each side alike; the proposal changes sides with the costs."""
    for gpu_seconds, left in ((cheap_left, True), (cheap_right, False)):
        own = Optimizer(LINE, dict.fromkeys(names, "min"), acquisition=f"{kind}_per_gpu_second", initial=2)
        for x in PLACES:
            values = {"a": wells(x), "b": (abs(x - 0.5) - 0.15) ** 2}
            own.tell({"x": x}, {name: values[name] for name in names}, gpu_seconds(x))
        [proposal] = own.propose()
        assert proposal.origin is Origin.MODEL
        assert (float(proposal.params["x"]) < 0.5) is left


def test_costs_change_nothing_of_other_acquisitions() -> None:
    """To the last bit."""
    assert told(EVEN, cheap_left).ask(3) == told(EVEN, unknown).ask(3)
    assert told("auto", cheap_left).ask(3) == told(EVEN, unknown).ask(3)


def test_the_order_in_which_costs_are_told_changes_nothing() -> None:
    """One place was measured twice, with the same value at different costs."""
    pairs = [*((x, cheap_left(x)) for x in PLACES), (0.4, 300.0)]
    asked, costs = [], []
    for order in (pairs, pairs[::-1]):
        optimizer = told(DIVIDED, unknown, ())
        for x, seconds in order:
            optimizer.tell({"x": x}, {"y": wells(x)}, seconds)
        costs.append(optimizer.history.costs)
        asked.append(optimizer.ask(2))
    assert costs[0] == costs[1]
    assert asked[0] == asked[1]


def test_costs_are_kept_in_json() -> None:
    optimizer = told(DIVIDED, lambda x: cheap_left(x) if x > 0.1 else None)
    again = Optimizer.from_json(json.loads(json.dumps(optimizer.to_json())))
    assert again.history.costs == optimizer.history.costs
    assert len(again.history.costs) == 8
    assert again.to_json() == optimizer.to_json()
    assert again.ask(2) == optimizer.ask(2)


def test_records_without_costs_still_load() -> None:
    """As they were written before costs could be told, which is as they are where none is."""
    record = told(EVEN, cheap_left).to_json()
    for each in record["told"]:
        del each["gpu_seconds"]
    assert Optimizer.from_json(record).history.costs == ()
    assert record == told(EVEN, unknown).to_json()


def test_too_few_costs_divide_nothing_and_the_note_says_so() -> None:
    optimizer = told(DIVIDED, lambda x: cheap_left(x) if x < 0.4 else None)
    [proposal], [plain] = optimizer.propose(), told(EVEN, unknown).propose()
    assert proposal.params == plain.params
    assert proposal.note == "gains not divided by GPU-seconds: known of 3 results, needed 4"


def test_a_fit_of_costs_that_fails_divides_nothing_and_the_note_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise LinAlgError("not positive definite")

    monkeypatch.setattr(cost, "fit_surrogate", refuse)
    [proposal], [plain] = told(DIVIDED, cheap_left).propose(), told(EVEN, unknown).propose()
    assert proposal.params == plain.params
    assert proposal.note.startswith("gains not divided by GPU-seconds: a covariance matrix")


@pytest.mark.parametrize(
    "gpu_seconds",
    [lambda x: 60.0, lambda x: 10.0 ** (300 * (x - 0.5)), lambda x: 5e-324 if x < 0.5 else 1e308],
    ids=["equal", "spread", "extreme"],
)
def test_any_costs_lead_to_proposals_of_the_model(gpu_seconds: Callable[[float], float]) -> None:
    proposals = told(DIVIDED, gpu_seconds).propose(2)
    assert [proposal.origin for proposal in proposals] == [Origin.MODEL] * 2
    assert all("divided" not in proposal.note for proposal in proposals)


@pytest.mark.parametrize("given", [-1.0, 0, math.nan, math.inf, True, "60", 10**400])
def test_gpu_seconds_are_a_finite_number_above_0(given: Any) -> None:
    """What is refused is named, and nothing is learned."""
    optimizer = Optimizer(LINE, {"y": "min"})
    with pytest.raises(InputError, match="gpu_seconds: expected a finite number above 0, got"):
        optimizer.tell({"x": 0.5}, {"y": 1.0}, given)
    assert optimizer.history.observations == ()


def test_gpu_seconds_of_another_number_type_are_a_number() -> None:
    """As JSON has it."""
    optimizer = Optimizer(LINE, {"y": "min"})
    optimizer.tell({"x": 0.5}, {"y": 1.0}, gpu_seconds=np.float32(2.5))  # type: ignore[arg-type]
    assert json.loads(json.dumps(optimizer.to_json()))["told"][0]["gpu_seconds"] == 2.5


@pytest.mark.parametrize("kind", ["qnehvi", "qehvi", "qucb", "ucb"])
def test_only_logarithms_of_gains_are_divided(kind: str) -> None:
    """The error says which those are."""
    with pytest.raises(InputError) as refused:
        Optimizer(LINE, {"y": "min"}, acquisition=f"{kind}_per_gpu_second")
    [(key, text)] = refused.value.problems
    assert key == "strategy.acquisition"
    assert text == (
        f"got '{kind}_per_gpu_second': _per_gpu_second goes with one of auto, lognehvi, qlognehvi, qlogehvi, "
        "qlognparego, lognei, qlognei, qlogei"
    )


@pytest.mark.parametrize(("kind", "names"), [("lognehvi", "a"), ("lognei", "ab")])
def test_the_number_of_objectives_counts_with_the_suffix_too(kind: str, names: str) -> None:
    with pytest.raises(InputError) as refused:
        Optimizer(LINE, dict.fromkeys(names, "min"), acquisition=f"{kind}_per_gpu_second")
    [(key, text)] = refused.value.problems
    assert key == "strategy.acquisition"
    assert f"got {kind}_per_gpu_second" in text


@pytest.mark.parametrize("name", ["_per_gpu_second", "expected", "lognei_per_second"])
def test_no_name_of_an_acquisition_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"got '{name}': ") as refused:
        Optimizer(LINE, {"y": "min"}, acquisition=name)
    assert "lognei" in str(refused.value)
