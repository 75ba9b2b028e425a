"""What failures teach: nearby, in proportion, and calibrated."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from hpo.feasibility import fit_feasibility
from hpo.optimizer import Optimizer

SPACE = {"x": "interval(0, 1)", "c": "choice(a, b, d)"}


def optimizer(worked: list[float], failed: list[float], choice: str = "a") -> Optimizer:
    own = Optimizer(SPACE, {"y": "min"})
    for x in worked:
        own.tell({"x": x, "c": "a"}, {"y": x})
    for x in failed:
        own.tell_failure({"x": x, "c": choice})
    return own


def probability(own: Optimizer, x: float, choice: str = "a") -> float:
    fitted = fit_feasibility(own.history)
    assert fitted is not None
    point = torch.tensor([own.space.to_unit({"x": x, "c": choice})], dtype=torch.float64)
    return float(fitted.log_probability(point).exp())


def test_without_failures_everything_is_taken_to_work() -> None:
    assert fit_feasibility(optimizer([0.1, 0.9], []).history) is None


def test_one_unlucky_failure_closes_no_region() -> None:
    own = optimizer([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95], [0.5])
    assert probability(own, 0.53) > 0.5
    assert probability(own, 0.05) > 0.8


def test_several_failures_close_a_region_and_leave_the_rest_open() -> None:
    own = optimizer([0.05, 0.15, 0.25, 0.35, 0.45], [0.6, 0.7, 0.8, 0.9])
    assert probability(own, 0.75) < 0.15
    assert probability(own, 0.2) > 0.85
    assert 0.2 < probability(own, 0.52) < 0.8


def test_failures_of_one_choice_say_less_of_another() -> None:
    own = optimizer([0.1, 0.3, 0.5, 0.7, 0.9], [0.2, 0.4, 0.6, 0.8], choice="b")
    assert probability(own, 0.5, "b") < 0.35
    assert probability(own, 0.5, "a") > 0.65
    assert probability(own, 0.5, "b") < probability(own, 0.5, "d")


def test_all_failed_still_gives_probabilities() -> None:
    own = optimizer([], [0.2, 0.4, 0.6])
    assert 0 < probability(own, 0.4) < 0.5


def test_one_observation_has_laplaces_approximation_near_the_exact_answer() -> None:
    """A second method, numerical integration; Laplace is known to stay a few hundredths too near a half."""
    own = optimizer([], [0.5])
    fitted = fit_feasibility(own.history)
    assert fitted is not None
    spread = float(np.sqrt(fitted.sigma2))

    def weighted(f: float, power: int) -> float:
        return float(norm.cdf(f) ** power * norm.cdf(-f) * norm.pdf(f, fitted.mean, spread))

    bounds = (fitted.mean - 9 * spread, fitted.mean + 9 * spread)
    exact = quad(weighted, *bounds, args=(1,))[0] / quad(weighted, *bounds, args=(0,))[0]
    assert probability(own, 0.5) == pytest.approx(exact, abs=0.06)


def test_the_weight_falls_faster_than_the_probability_where_that_is_low() -> None:
    """log p above 0.8; 7 log p - 6 log 0.8 below it, so that both meet there."""
    own = optimizer([0.05, 0.15, 0.25, 0.35, 0.45], [0.6, 0.7, 0.8, 0.9])
    fitted = fit_feasibility(own.history)
    assert fitted is not None
    points = torch.tensor([own.space.to_unit({"x": x, "c": "a"}) for x in (0.2, 0.8)], dtype=torch.float64)
    likely, unlikely = fitted.log_probability(points).tolist()
    assert fitted.log_weight(points).tolist() == pytest.approx([likely, 7 * unlikely - 6 * np.log(0.8)])
