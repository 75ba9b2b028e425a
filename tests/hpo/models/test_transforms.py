"""Expected excesses against closed forms and numerical integration, and the way there and back."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from botorch.posteriors import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal
from scipy.integrate import quad
from scipy.stats import norm

from hpo.models.transforms import ObjectiveTransform, make_transform

VALUES = {
    "positive": np.array([0.5, 0.8, 1.3, 2.0, 9.0]),
    "negative": np.array([-0.5, -0.8, -1.3, -2.0, -9.0]),
    "mixed": np.array([-3.0, -0.2, 0.0, 1.0, 4.0]),
}
KINDS = [(log, signs) for log in (False, True) for signs in VALUES if not (log and signs == "mixed")]
every_kind = pytest.mark.parametrize(("log", "signs"), KINDS)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def excess(transform: ObjectiveTransform, mean: float, deviation: float, bound: float) -> float:
    """E[(u - bound)+] as the transform has it."""
    return math.exp(float(transform.log_excess(tensor(mean), tensor(deviation), tensor(bound))))


def integrated(transform: ObjectiveTransform, mean: float, deviation: float, bound: float) -> float:
    """A second method: the excess of every standard normal z, weighed with its density."""

    def over(z: float) -> float:
        u = float(transform.to_gain(tensor(mean + deviation * z)))
        return max(u - bound, 0.0) * float(norm.pdf(z))

    ends = np.linspace(-12, 12, 25)  # pieces: the bend at the bound is somewhere
    return float(sum(quad(over, low, high, limit=100)[0] for low, high in pairwise(ends)))


@every_kind
def test_the_excess_is_the_integral_over_the_normal_model(log: bool, signs: str) -> None:
    """At an ordinary, a small and a large deviation, for bounds below, at and above the mean's gain."""
    transform = make_transform(VALUES[signs], log=log)
    for mean, deviation, offset in ((0.2, 0.5, -0.4), (0.2, 0.5, 0.0), (-1.0, 1.2, 0.7), (0.5, 0.05, 0.01)):
        bound = float(transform.to_gain(tensor(mean))) + offset
        expected = integrated(transform, mean, deviation, bound)
        assert excess(transform, mean, deviation, bound) == pytest.approx(expected, rel=2e-3, abs=1e-9)


@pytest.mark.parametrize("deviation", [1e-5, 1e-3, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("ratio", [-2.0, -0.3, 0.0, 0.3, 2.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_excess_of_a_logarithm_is_the_price_of_an_option(
    sign: int, ratio: float, deviation: float
) -> None:
    """Black and Scholes: a call where more is better, a put where less is; the ratio is log strike."""
    transform = ObjectiveTransform(log=True, sign=sign, centre=0.0, scale=1.0, level=0.0, unit=1.0)
    strike, forward = math.exp(ratio), math.exp(0.5 * deviation**2)
    d2 = -ratio / deviation
    call = forward * norm.cdf(d2 + deviation) - strike * norm.cdf(d2)
    put = strike * norm.cdf(-d2) - forward * norm.cdf(-d2 - deviation)
    found = excess(transform, 0.0, deviation, sign * strike)
    # both terms are of the strike's size, so their difference is known to some 1e-15 of it
    assert found == pytest.approx(put if sign < 0 else call, rel=2e-3, abs=1e-13)


def test_a_wide_logarithm_loses_a_few_percent_at_most() -> None:
    """Two model units of a spread of 2.7 in the logarithm: three nodes of quadrature are within a tenth."""
    deviation = 2.7
    transform = ObjectiveTransform(log=True, sign=1, centre=0.0, scale=1.0, level=0.0, unit=1.0)
    expected = math.exp(0.5 * deviation**2) * norm.cdf(deviation) - 0.5
    assert excess(transform, 0.0, deviation, 1.0) == pytest.approx(expected, rel=0.1)


@every_kind
def test_tiny_deviations_leave_the_excess_of_the_mean(log: bool, signs: str) -> None:
    transform = make_transform(VALUES[signs], log=log)
    bound = float(transform.to_gain(tensor(0.3))) - 0.25
    assert excess(transform, 0.3, 1e-5, bound) == pytest.approx(0.25, rel=1e-3)


@every_kind
def test_far_bounds_give_finite_falling_logarithms_with_gradients(log: bool, signs: str) -> None:
    """From far below to far above the mean, also bounds that nothing can reach."""
    transform = make_transform(VALUES[signs], log=log)
    for size in (1e-5, 0.3):
        mean = torch.full((9,), 0.1, dtype=torch.float64, requires_grad=True)
        deviation = torch.full((9,), size, dtype=torch.float64, requires_grad=True)
        bound = transform.to_gain(tensor(0.1)) + tensor(-20, -5, -1, -0.1, 0, 0.1, 1, 5, 20)
        value = transform.log_excess(mean, deviation, bound)
        slopes = torch.autograd.grad(value.sum(), (mean, deviation))
        assert bool(torch.isfinite(value).all())
        assert bool((value[value > -1000].diff() <= 0).all())
        assert bool((value.exp().diff() <= 0).all())
        assert all(bool(torch.isfinite(own).all()) for own in slopes)
        assert bool((slopes[0] >= 0).all()), "a better mean is never worth less"


def modelled(transform: ObjectiveTransform, values: np.ndarray) -> torch.Tensor:
    y: torch.Tensor = transform(torch.from_numpy(values))[0]
    return y


@every_kind
def test_from_the_own_unit_to_the_gain_directly_or_through_the_model(log: bool, signs: str) -> None:
    values = VALUES[signs]
    transform = make_transform(values, log=log)
    through = transform.to_gain(modelled(transform, values))
    assert through.tolist() == pytest.approx(transform.gained(values).tolist())
    assert transform.gained(values).mean() == pytest.approx(0, abs=1e-12)
    assert transform.gained(values).std() == pytest.approx(1)


@every_kind
def test_gains_and_model_values_rise_with_the_value(log: bool, signs: str) -> None:
    rising = np.sort(VALUES[signs])
    transform = make_transform(rising, log=log)
    assert (np.diff(modelled(transform, rising)) > 0).all()
    assert (np.diff(transform.gained(rising)) > 0).all()


@every_kind
def test_values_and_small_errors_come_back_as_they_went(log: bool, signs: str) -> None:
    """By `OutcomeTransform`'s own methods; of a logarithm errors to first order."""
    values = torch.from_numpy(VALUES[signs]).unsqueeze(-1)
    transform = make_transform(VALUES[signs], log=log)
    y, variance = transform(values, torch.full_like(values, 1e-4))
    back, errors = transform.untransform(y, variance)
    assert back.flatten().tolist() == pytest.approx(values.flatten().tolist(), abs=1e-12)
    assert errors is not None
    assert errors.flatten().tolist() == pytest.approx([1e-4] * 5)


@every_kind
def test_the_posterior_in_the_own_unit_is_that_of_simulated_values(log: bool, signs: str) -> None:
    """A second method: 200,000 draws of y, each turned back; means and variances of theirs."""
    transform = make_transform(VALUES[signs], log=log)
    normal = MultivariateNormal(tensor(0.3), 0.16 * torch.eye(1).double())
    found: Any = transform.untransform_posterior(GPyTorchPosterior(normal))
    draws = 0.3 + 0.4 * np.random.default_rng(0).standard_normal(200_000)
    values = transform.untransform(torch.from_numpy(draws))[0]
    assert float(found.mean) == pytest.approx(float(values.mean()), rel=0.02)
    assert float(found.variance) == pytest.approx(float(values.var()), rel=0.05)
    assert isinstance(found, GPyTorchPosterior) is not log


def test_an_excess_broadcasts() -> None:
    """Means k x S, deviations k x 1, bounds S: k x S."""
    transform = make_transform(VALUES["positive"], log=True)
    found = transform.log_excess(
        torch.zeros(3, 4).double(), torch.ones(3, 1).double(), torch.zeros(4).double()
    )
    assert found.shape == (3, 4)
    assert float(found.max() - found.min()) == 0
