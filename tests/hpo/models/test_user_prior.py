"""The user's beliefs as a weight of proposals."""

from __future__ import annotations

import math

import pytest
import torch

from hpo.models.history import Origin
from hpo.models.user_prior import trust, user_prior
from hpo.optimizer import Optimizer

SPACE = {"k": "usual(b, belief=high, choice(a, b, c))", "x": "usual(0.5, interval(0, 1))"}


def told(results: int, failures: int = 0, space: dict[str, str] = SPACE) -> Optimizer:
    """An optimizer that knows so much, of values that say nothing."""
    optimizer = Optimizer(space, {"loss": "min"}, initial=1)
    for number in range(results):
        optimizer.tell({"k": "a", "x": number / 100}, {"loss": 1.0})
    for number in range(failures):
        optimizer.tell_failure({"k": "c", "x": number / 100})
    return optimizer


def test_weight_is_that_of_the_beliefs_and_fades_with_results() -> None:
    """One deviation away, over the floor: 0.05 + 0.95 exp(-1/2); another choice: 0.2; then a power."""
    X = torch.tensor([[0.5, 0.5], [0.5, 0.7], [1 / 6, 0.5], [5 / 6, 0.3]], dtype=torch.float64)
    number, choice = math.log(0.05 + 0.95 * math.exp(-0.5)), math.log(0.2)
    expected = [0.0, number, choice, number + choice]
    for results, failures, exponent in ((4, 0, 1.0), (10, 0, 1.0), (15, 5, 0.25), (100, 0, 0.01)):
        weight = user_prior(told(results, failures).history)
        assert weight is not None
        assert weight(X).tolist() == pytest.approx([exponent * own for own in expected])


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], 1.0),
        ([5.0, 4.0, 3.0, 2.0, 1.0], 0.0),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 1.0),
        ([3.0, 1.0, 2.0, 5.0, 4.0], 0.2),
        ([3.0, 1.0, 2.0, 4.0], 1.0),
    ],
)
def test_beliefs_count_as_far_as_they_rank_the_results(losses: list[float], expected: float) -> None:
    """The nearer to 0 the more believed. Correlations of 1, -1, 0, and 1 - 6 x 8 / 120: twice that, less 1.

    Four could not show two standard errors.
    """
    optimizer = Optimizer({"x": "usual(0, interval(0, 1))"}, {"loss": "min"})
    for x, loss in zip((0.1, 0.3, 0.5, 0.7, 0.9), losses, strict=False):
        optimizer.tell({"x": x}, {"loss": loss})
    assert trust(optimizer.history) == pytest.approx(expected)


def test_failures_where_it_was_believed_in_take_trust_away() -> None:
    """The three nearest failed: results far away are better than they are."""
    optimizer = Optimizer({"x": "usual(0, interval(0, 1))"}, {"loss": "min"})
    for x in (0.0, 0.2, 0.4):
        optimizer.tell_failure({"x": x})
    for x in (0.8, 0.9):
        optimizer.tell({"x": x}, {"loss": x})
    assert trust(optimizer.history) == 0.0


def test_no_belief_is_no_weight() -> None:
    """So nothing is computed."""
    assert user_prior(Optimizer({"x": "interval(0, 1)"}, {"loss": "min"}).history) is None


def test_first_trial_is_at_the_usual_values() -> None:
    """In the middle where nothing is usual; conditions and constraints hold."""
    space = {"x": "usual(0.9, interval(0, 1))", "y": "interval(0, 1)", "constraints": ["x + y <= 1"]}
    assert Optimizer({**SPACE, "y": "interval(0, 4)"}, {"loss": "min"}).ask() == [
        {"k": "b", "x": 0.5, "y": 2}
    ]
    optimizer = Optimizer(space, {"loss": "min"})
    [first] = optimizer.propose()
    assert (first.origin, first.note) == (Origin.USUAL, "initial design")
    assert [own.origin for own in optimizer.propose(2)] == [Origin.CENTRE, Origin.SOBOL]
    assert [own.origin for own in Optimizer(space, {"loss": "min"}).propose(2)] == [
        Origin.USUAL,
        Origin.CENTRE,
    ]
    assert first.params["x"] + first.params["y"] <= 1  # type: ignore[operator]


def test_usual_values_come_after_trials_of_the_users_own() -> None:
    """Once; the centre is left out then, as without beliefs."""
    optimizer = Optimizer(SPACE, {"loss": "min"})
    optimizer.add_pending({"k": "a", "x": 0.1})
    assert [own.origin for own in optimizer.propose(2)] == [Origin.USUAL, Origin.SOBOL]
    assert [own.origin for own in optimizer.propose(1)] == [Origin.SOBOL]


def test_proposals_are_weighed_by_the_beliefs() -> None:
    """Two results far from each other and equal: the middle is worth most, but for a belief."""

    def proposal(space: str) -> float:
        optimizer = Optimizer({"x": space}, {"loss": "min"}, initial=1)
        for x in (0.0, 1.0):
            optimizer.tell({"x": x}, {"loss": 1.0})
        [proposed] = optimizer.propose()
        assert proposed.origin is Origin.MODEL
        return float(proposed.params["x"])

    assert proposal("interval(0, 1)") == pytest.approx(0.5, abs=0.1)
    assert proposal("usual(0.8, belief=high, interval(0, 1))") == pytest.approx(0.8, abs=0.1)


def test_a_restored_optimizer_has_the_same_beliefs() -> None:
    """They are in `to_json`."""
    optimizer = told(8)
    again = Optimizer.from_json(optimizer.to_json())
    assert again.space == optimizer.space
    assert again.ask(2) == optimizer.ask(2)
