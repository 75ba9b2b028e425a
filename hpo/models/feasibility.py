"""The probability that a configuration works, learned from those that did and those that did not.

A Gaussian process classifier: a latent process with a Matern-5/2 kernel on the unit cube, a probit link, and
Laplace's approximation, whose marginal likelihood chooses the length scales [Rasmussen2006, chapter 3]. To
BoTorch it is a model of the latent value.
One failure among many successes moves it only nearby and only a little; several close a region. What is
believed beforehand, a memory estimate say, can be the latent mean; data overrule it.

References:
    [Rasmussen2006] C. Rasmussen, C. Williams. Gaussian Processes for Machine Learning, 2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from botorch.models.model import Model
from botorch.posteriors import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal
from scipy.linalg import solve_triangular
from scipy.stats import norm
from torch import Tensor

from hpo.models.distances import Array, Flags, distances, furthest_first
from hpo.models.feasibility_prior import PointPrior, prior_at_points
from hpo.models.guard import guarded
from hpo.models.history import History
from hpo.models.kernel import MixedKernel
from hpo.models.laplace import TYPICAL_ELL, TYPICAL_SIGMA2, find_mode, fit, likelihood
from hpo.models.surrogate import hamming_flags
from hpo.space.space import Point

# On the mixed problem of the benchmark these let 4% of the proposals fail, 6 below 0.8 let 5.5% (5 seeds).
_RISK_AVERSION = 8.0
_SAFE = 0.85
_MOST_POINTS = 300
_MOST_FAILURES = 150
# Of a prior's latent values, 2 either way, as probabilities: a few trials that say otherwise outweigh it.
_FIRMEST_P = (float(norm.cdf(-2.0)), float(norm.cdf(2.0)))


class Feasibility(Model):
    """A fitted classifier; of its latent value, what is above 0 works.

    Args:
        X: n x d points; n is 0 where a prior is all there is.
        signs: n, 1 where a point worked, -1 where it did not.
        kernel: of the latent values.
        mean: latent mean, without the prior.
        prior: what is believed beforehand, or None.
    """

    def __init__(
        self, X: Array, signs: Array, kernel: MixedKernel, mean: float, prior: PointPrior | None
    ) -> None:
        super().__init__()
        self.X, self.signs = torch.from_numpy(X), signs
        self.covar_module = kernel.requires_grad_(False)
        self.level, self.prior = mean, prior
        K = kernel.forward(self.X, self.X).numpy()
        mode = find_mode(K, signs, mean + _shift(prior, self.X).numpy())
        # the latent mean at x is level + prior + k(x, X) slope, its variance k(x, x) - |k(x, X) root|^2
        self.slope = torch.from_numpy(mode.a)
        root = solve_triangular(mode.factor, np.diag(np.sqrt(mode.W)), lower=True)
        self.root = torch.from_numpy(np.ascontiguousarray(root.T))

    @property
    def num_outputs(self) -> int:
        """One: the latent value."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """No batch."""
        return torch.Size()

    def posterior(self, X: Tensor, *_: object, **__: object) -> GPyTorchPosterior:
        """The joint posterior of the latent value at X (... x q x d)."""
        k = self.covar_module.forward(X, self.X)
        explained = k @ self.root
        covariance = self.covar_module.forward(X, X) - explained @ explained.transpose(-1, -2)
        flat = X.reshape(-1, X.shape[-1])
        mean = self.level + _shift(self.prior, flat).reshape(X.shape[:-1]) + k @ self.slope
        jitter = 1e-8 * torch.eye(X.shape[-2], dtype=X.dtype)
        return GPyTorchPosterior(MultivariateNormal(mean, covariance + jitter))

    def marginal(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Means and variances (k each) of the latent value at X (k x d), one by one."""
        k = self.covar_module.forward(X, self.X)
        mean = self.level + _shift(self.prior, X) + k @ self.slope
        variance = self.covar_module.outputscale - (k @ self.root).square().sum(-1)
        return mean, variance.clamp_min(0)

    def log_probability(self, X: Tensor) -> Tensor:
        """Log probability (k) of working at X (k x d); differentiable in X, as far as the prior is."""
        mean, variance = self.marginal(X)
        probability: Tensor = torch.special.log_ndtr(mean / (1 + variance).sqrt())
        return probability

    def forward(self, X: Tensor) -> Tensor:
        """What is added to the logarithm of a gain at X (k x d): log p, steeper where p is below `_SAFE`.

        The plain factor p is the expected gain if a failure costs nothing. It costs a trial: a distant point
        of great promise would be tried again and again.
        """
        log_p = self.log_probability(X)
        return log_p + _RISK_AVERSION * (log_p - math.log(_SAFE)).clamp_max(0)

    def leave_one_out(self) -> Array:
        """The probability (n) that each point works, without having seen it; the hyperparameters did.

        Its own factor is divided out of the normal that stands for the posterior, so nothing is fitted again.
        """
        mean, variance = (part.numpy() for part in self.marginal(self.X))
        _, gradient, W, _ = likelihood(mean, self.signs)
        without = 1.0 / np.maximum(1.0 / variance - W, 1e-12)
        probability: Array = norm.cdf((mean - without * gradient) / np.sqrt(1.0 + without))
        return probability


def fit_feasibility(history: History, prior: PointPrior | None = None) -> Feasibility | None:
    """Fit the classifier to successes and failures.

    Args:
        history: what is known; of very many points the failures and the successes next to them count.
        prior: what is believed beforehand, as probabilities; its latent values are cut at 2 either way.

    Returns:
        None where nothing varies, or nothing failed and there is no prior: everything is taken to work.
    """
    if not len(history.space) or (prior is None and not history.failures):
        return None
    hamming = hamming_flags(history.space)
    tried = list(dict.fromkeys(each.point for each in history.observations))
    X, signs = _kept(list(history.failures), tried, hamming)
    shift = _shift(prior, torch.from_numpy(X)).numpy()
    level = _level(len(tried), len(history.failures), None if prior is None else shift)
    D = distances(X, X, hamming)
    # with successes alone nothing says where failures begin, so there are no length scales to learn
    ell, sigma2 = np.full(len(hamming), TYPICAL_ELL), TYPICAL_SIGMA2
    if history.failures:
        ell, sigma2 = fit(D, signs, level + shift)
    kernel = MixedKernel(len(hamming), np.flatnonzero(hamming).tolist()).double()
    return Feasibility(X, signs, kernel.with_scales(ell, sigma2), level, prior)


def least_certain_to_fail(history: History, candidates: Sequence[Point]) -> list[Point]:
    """Candidates in the order of their probability of working, where no results say what to gain.

    Args:
        history: at least one failure; what is under way is taken to fail, so that a batch spreads.
        candidates: k points.

    Raises:
        FitError: the numbers failed.
    """
    doubted = replace(history, failures=tuple(sorted({*history.failures, *history.pending})))
    with guarded():
        prior = history.feasibility_prior and prior_at_points(history.feasibility_prior, history.space)
        feasibility = fit_feasibility(doubted, prior)
        if feasibility is None:
            return list(candidates)
        probability = feasibility.log_probability(torch.tensor(candidates, dtype=torch.float64))
        order = torch.argsort(probability, descending=True, stable=True)
    return [candidates[index] for index in order.tolist()]


def _shift(prior: PointPrior | None, X: Tensor) -> Tensor:
    """The prior's latent values (k) at X (k x d); 0 without one."""
    if prior is None or not len(X):
        return torch.zeros(len(X), dtype=torch.float64)
    latent: Tensor = torch.special.ndtri(prior(X).clamp(*_FIRMEST_P))
    return latent


def _level(worked: int, failed: int, believed: Array | None) -> float:
    """The latent mean: the share of successes, with one success and one half failure assumed beforehand.

    Beside a prior only what it leaves unexplained, more failures than it believed in at these points; that
    it was too gloomy at some of them is no reason to trust it less far away.
    """
    share = float(norm.ppf((worked + 1.0) / (worked + failed + 1.5)))
    if believed is None:
        return share
    return min(0.0, share - float(believed.mean())) if failed else 0.0


def _kept(failures: Sequence[Point], tried: Sequence[Point], hamming: Flags) -> tuple[Array, Array]:
    """At most `_MOST_POINTS` points (n x d) and their signs: the question is where failures begin.

    Failures are thinned out evenly, each the furthest from those before; successes next to them are kept.
    """
    d = len(hamming)
    bad = np.array(failures, dtype=np.float64).reshape(-1, d)
    good = np.array(tried, dtype=np.float64).reshape(-1, d)
    if len(bad) + len(good) > _MOST_POINTS:
        bad = bad[_spread(bad, _MOST_FAILURES, hamming)]
        if len(bad):
            nearest = distances(good, bad, hamming).sum(-1).min(1)
            order = np.argsort(nearest, kind="stable")
        else:
            order = np.array(_spread(good, _MOST_POINTS, hamming))
        good = good[np.sort(order[: _MOST_POINTS - len(bad)])]
    return np.concatenate([bad, good]), np.array([-1.0] * len(bad) + [1.0] * len(good))


def _spread(X: Array, most: int, hamming: Flags) -> list[int]:
    """At most so many rows (of n x d), from the first one on each the furthest from those before."""
    if len(X) <= most:
        return list(range(len(X)))
    return sorted(furthest_first(X, most, hamming))
