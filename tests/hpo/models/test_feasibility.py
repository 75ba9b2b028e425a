"""What failures teach: nearby, in proportion, and calibrated."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from hpo.models.distances import distances
from hpo.models.feasibility import fit_feasibility
from hpo.models.feasibility_prior import PointPrior
from hpo.models.guard import guarded
from hpo.models.laplace import evidence, find_mode
from hpo.optimizer import Optimizer

SPACE = {"x": "interval(0, 1)", "c": "choice(a, b, d)"}


def optimizer(worked: list[float], failed: list[float], choice: str = "a") -> Optimizer:
    own = Optimizer(SPACE, {"y": "min"})
    for x in worked:
        own.tell({"x": x, "c": "a"}, {"y": x})
    for x in failed:
        own.tell_failure({"x": x, "c": choice})
    return own


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As the model's points are found: small matrices on busy cores are far slower with two threads."""
    with guarded():
        yield


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
    spread = math.sqrt(float(fitted.covar_module.outputscale))

    def weighted(f: float, power: int) -> float:
        return float(norm.cdf(f) ** power * norm.cdf(-f) * norm.pdf(f, fitted.level, spread))

    bounds = (fitted.level - 9 * spread, fitted.level + 9 * spread)
    exact = quad(weighted, *bounds, args=(1,))[0] / quad(weighted, *bounds, args=(0,))[0]
    assert probability(own, 0.5) == pytest.approx(exact, abs=0.06)


def test_the_weight_falls_faster_than_the_probability_where_that_is_low() -> None:
    """log p above 0.85; 9 log p - 8 log 0.85 below it, so that both meet there."""
    own = optimizer([0.05, 0.15, 0.25, 0.35, 0.45], [0.6, 0.7, 0.8, 0.9])
    fitted = fit_feasibility(own.history)
    assert fitted is not None
    points = torch.tensor([own.space.to_unit({"x": x, "c": "a"}) for x in (0.2, 0.8)], dtype=torch.float64)
    likely, unlikely = fitted.log_probability(points).tolist()
    assert fitted(points).tolist() == pytest.approx([likely, 9 * unlikely - 8 * np.log(0.85)])


def test_one_failure_right_beside_successes_leaves_its_neighbourhood_open() -> None:
    """In seven dimensions, sixty successes and one failure: half a step away it is still worth trying."""
    own, rng = (
        Optimizer({f"x{n}": "interval(0, 1)" for n in range(7)}, {"y": "min"}),
        np.random.default_rng(0),
    )
    for row in rng.random((60, 7)).tolist():
        own.tell({f"x{n}": x for n, x in enumerate(row)}, {"y": row[0]})
    own.tell_failure({f"x{n}": 0.5 for n in range(7)})
    fitted = fit_feasibility(own.history)
    assert fitted is not None
    near = torch.full((7, 7), 0.5, dtype=torch.float64) + 0.02 * torch.eye(7, dtype=torch.float64)
    assert float(fitted.log_probability(near).exp().min()) > 0.5


def gloomy_above_half(X: Tensor) -> Tensor:
    """A prior: nothing works at x above a half. Coordinates are in the order of the names: c, x."""
    return (X[:, 1] <= 0.5).double()


def believed(own: Optimizer, x: float, prior: PointPrior = gloomy_above_half) -> float:
    fitted = fit_feasibility(own.history, prior)
    assert fitted is not None
    point = torch.tensor([own.space.to_unit({"x": x, "c": "a"})], dtype=torch.float64)
    return float(fitted.log_probability(point).exp())


def test_a_prior_acts_before_anything_was_tried() -> None:
    """The latent mean is 2 or -2, its variance 4: the probability is Phi(2 / sqrt 5) or Phi(-2 / sqrt 5)."""
    own = optimizer([], [])
    assert believed(own, 0.2) == pytest.approx(norm.cdf(2 / np.sqrt(5)))
    assert believed(own, 0.8) == pytest.approx(norm.cdf(-2 / np.sqrt(5)))


def test_a_prior_moves_the_probability_down_where_it_says_so() -> None:
    own = optimizer([0.1, 0.2, 0.3, 0.4], [0.05])
    assert believed(own, 0.8) < probability(own, 0.8) - 0.2
    assert believed(own, 0.8) < 0.4 < 0.6 < believed(own, 0.3)


@pytest.mark.parametrize("failed", [[], [0.02]])
def test_six_successes_overrule_a_prior(failed: list[float]) -> None:
    own = optimizer([0.6, 0.65, 0.7, 0.75, 0.8, 0.85], failed)
    assert believed(own, 0.72) > 0.8


def test_failures_overrule_a_prior_that_expects_none() -> None:
    own = optimizer([0.1, 0.2, 0.3], [0.6, 0.7, 0.8, 0.9])
    assert believed(own, 0.75, lambda X: torch.ones(len(X), dtype=torch.float64)) < 0.3


def test_successes_that_a_prior_ruled_out_are_no_reason_to_trust_it_less_elsewhere() -> None:
    """Six successes at choice a leave choice b, far from them, about where the prior had it."""
    own = optimizer([0.6, 0.65, 0.7, 0.75, 0.8, 0.85], [])
    fitted = fit_feasibility(own.history, gloomy_above_half)
    assert fitted is not None
    point = torch.tensor([own.space.to_unit({"x": 0.8, "c": "b"})], dtype=torch.float64)
    assert float(fitted.log_probability(point).exp()) < 0.4


def test_gradients_are_finite_where_a_prior_is_a_step() -> None:
    fitted = fit_feasibility(optimizer([0.1, 0.4], [0.7]).history, gloomy_above_half)
    assert fitted is not None
    X = torch.tensor([[0.2, 0.3], [0.5, 0.6]], dtype=torch.float64, requires_grad=True)
    fitted(X).sum().backward()
    assert X.grad is not None
    assert bool(torch.isfinite(X.grad).all())


def test_of_many_points_failures_and_the_successes_beside_them_are_kept() -> None:
    """400 successes at x < 0.8, 20 failures above: all failures, and the successes next to them."""
    worked = np.linspace(0, 0.79, 400)
    fitted = fit_feasibility(optimizer(worked.tolist(), np.linspace(0.81, 1, 20).tolist()).history)
    assert fitted is not None
    assert (fitted.signs < 0).sum() == 20
    assert fitted.X.numpy()[fitted.signs > 0][:, 1] == pytest.approx(worked[-280:])


def test_of_very_many_failures_half_the_room_is_left_to_successes() -> None:
    """350 failures, 200 successes: 150 failures from one end to the other, 150 successes."""
    own = optimizer(np.linspace(0, 0.49, 200).tolist(), np.linspace(0.51, 1, 350).tolist())
    fitted = fit_feasibility(own.history)
    assert fitted is not None
    failed = np.sort(fitted.X.numpy()[fitted.signs < 0][:, 1])
    assert (len(failed), int((fitted.signs > 0).sum())) == (150, 150)
    assert (failed[0], failed[-1]) == pytest.approx((0.51, 1.0))
    assert np.diff(failed).max() < 0.01, "evenly thinned out"
    assert probability(own, 0.2) > 0.8 > 0.2 > probability(own, 0.8)


def test_leaving_one_out_is_near_to_fitting_without_it() -> None:
    """A second method: Newton's method again without each point, at the same hyperparameters."""
    own = optimizer([0.05, 0.15, 0.25, 0.35, 0.45, 0.62], [0.55, 0.6, 0.7, 0.8, 0.9])
    fitted = fit_feasibility(own.history)
    assert fitted is not None
    K, signs, expected = fitted.covar_module(fitted.X).to_dense().numpy(), fitted.signs, []
    for index in range(len(signs)):
        rest = np.arange(len(signs)) != index
        mode = find_mode(K[np.ix_(rest, rest)], signs[rest], np.full(rest.sum(), fitted.level))
        k = K[index, rest]
        variance = K[index, index] - k @ np.linalg.solve(K[np.ix_(rest, rest)] + np.diag(1 / mode.W), k)
        expected.append(norm.cdf((fitted.level + k @ mode.a) / np.sqrt(1 + variance)))
    assert fitted.leave_one_out() == pytest.approx(np.array(expected), abs=0.05)


def test_the_gradient_of_the_marginal_likelihood_is_its_slope() -> None:
    """Against central differences, with latent means that differ."""
    rng = np.random.default_rng(0)
    X, mean = rng.random((12, 3)), rng.normal(size=12)
    signs = np.where(X[:, 0] + 0.3 * rng.standard_normal(12) > 0.5, -1.0, 1.0)
    D, theta = distances(X, X, np.array([False, False, False])), np.log([0.4, 0.7, 1.2, 3.0])
    _, gradient, _ = evidence(theta, D, signs, mean)
    slopes = [
        (evidence(theta + step, D, signs, mean)[0] - evidence(theta - step, D, signs, mean)[0]) / 2e-4
        for step in 1e-4 * np.eye(4)
    ]
    assert gradient == pytest.approx(np.array(slopes), rel=1e-3)


def test_to_botorch_it_is_a_model_of_the_latent_value() -> None:
    """What a normal latent value is above 0 with noise of variance 1 is the probability of working."""
    own = optimizer([0.05, 0.15, 0.25, 0.35, 0.45], [0.6, 0.7, 0.8, 0.9])
    fitted = fit_feasibility(own.history)
    assert fitted is not None
    X = torch.tensor([own.space.to_unit({"x": x, "c": "a"}) for x in (0.2, 0.55, 0.8)], dtype=torch.float64)
    found = fitted.posterior(X.unsqueeze(1))
    z = found.mean.flatten() / (1 + found.variance.flatten()).sqrt()
    assert norm.cdf(z.numpy()) == pytest.approx(fitted.log_probability(X).exp().numpy(), abs=1e-6)
    assert fitted.posterior(X).covariance_matrix.shape == (3, 3)
