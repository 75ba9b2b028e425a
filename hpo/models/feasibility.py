"""The probability that a configuration works, learned from those that did and those that did not.

A Gaussian process classifier: a latent process with a Matern-5/2 kernel on the unit cube, a probit link, and
Laplace's approximation, whose marginal likelihood chooses the length scales [Rasmussen2006, chapter 3].
One failure among many successes moves it only nearby and only a little; several close a region. What is
believed beforehand, a memory estimate say, can be the latent mean; data overrule it.

References:
    [Rasmussen2006] C. Rasmussen, C. Williams. Gaussian Processes for Machine Learning, 2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.stats import norm
from torch import Tensor

from hpo.models.feasibility_prior import PointPrior
from hpo.models.gp import Array, Kernel, distances, furthest_first, matern
from hpo.models.history import History
from hpo.models.laplace import TYPICAL_ELL, TYPICAL_SIGMA2, find_mode, fit, likelihood
from hpo.models.posterior import torch_covariance
from hpo.models.surrogate import hamming_flags
from hpo.space.space import Point

Flags = np.typing.NDArray[np.bool_]

# On the mixed problem of the benchmark these let 4% of the proposals fail, 6 below 0.8 let 5.5% (5 seeds).
_RISK_AVERSION = 8.0
_SAFE = 0.85
_MOST_POINTS = 300
_MOST_FAILURES = 150
# Of a prior's latent values, 2 either way, as probabilities: a few trials that say otherwise outweigh it.
_FIRMEST_P = (float(norm.cdf(-2.0)), float(norm.cdf(2.0)))


@dataclass(frozen=True)
class Feasibility:
    """A fitted classifier.

    Args:
        X: n x d points; n is 0 where a prior is all there is.
        worked: n, which of them did.
        hamming: d flags of unordered choices.
        ell: d length scales.
        sigma2: latent variance.
        mean: latent mean, without the prior.
        prior: what is believed beforehand, or None.
        slope: n, so that the latent mean at x is `mean + prior + k(x, X) slope`.
        root: n x n, so that the latent variance at x is `sigma2 - |k(x, X) root|^2`.
    """

    X: Array
    worked: Flags
    hamming: Flags
    ell: Array
    sigma2: float
    mean: float
    prior: PointPrior | None
    slope: Array
    root: Array

    def log_probability(self, X: Tensor) -> Tensor:
        """Log probability (k) of working at X (k x d); differentiable in X, as far as the prior is."""
        rows, ell, hamming = map(torch.from_numpy, (self.X, self.ell, self.hamming))
        k = self.sigma2 * torch_covariance(X, rows, ell, hamming, Kernel.MATERN)
        mean = self.mean + _shift(self.prior, X) + k @ torch.from_numpy(self.slope)
        variance = (self.sigma2 - (k @ torch.from_numpy(self.root)).square().sum(-1)).clamp_min(0)
        probability: Tensor = torch.special.log_ndtr(mean / (1 + variance).sqrt())
        return probability

    def log_weight(self, X: Tensor) -> Tensor:
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
        K = self.sigma2 * matern(distances(self.X, self.X, self.hamming), self.ell)
        mean = self.mean + _shift(self.prior, torch.from_numpy(self.X)).numpy() + K @ self.slope
        variance = self.sigma2 - ((K @ self.root) ** 2).sum(1)
        _, gradient, W, _ = likelihood(mean, np.where(self.worked, 1.0, -1.0))
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
    mode = find_mode(sigma2 * matern(D, ell), signs, level + shift)
    root = solve_triangular(mode.factor, np.diag(np.sqrt(mode.W)), lower=True).T
    return Feasibility(X, signs > 0, hamming, ell, sigma2, level, prior, mode.a, root)


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
