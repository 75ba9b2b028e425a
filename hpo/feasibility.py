"""The probability that a configuration works, learned from those that did and those that did not.

A Gaussian process classifier: a latent process with a Matern-5/2 kernel on the unit cube, a probit link, and
Laplace's approximation, whose marginal likelihood chooses the length scales [Rasmussen2006, chapter 3].
One failure among many successes moves it only nearby and only a little; several close a region.

References:
    [Rasmussen2006] C. Rasmussen, C. Williams. Gaussian Processes for Machine Learning, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_ndtr
from scipy.stats import norm
from torch import Tensor

from hpo.gp import Array, distances, matern
from hpo.history import History
from hpo.surrogate import hamming_flags

_SQRT5 = math.sqrt(5.0)
_NEWTON_STEPS = 30
# Of a mixed problem with 15% failing volume, these let 3% of the proposals fail; 4 below one half let 10%.
_RISK_AVERSION = 6.0
_SAFE = 0.8
_PRIOR_ELL = (math.log(0.5), 0.7)
_PRIOR_SIGMA2 = (math.log(4.0), 0.7)
_MOST_POINTS = 300  # the newest question is about where failures are: all of them, and the nearest successes


@dataclass(frozen=True)
class Feasibility:
    """A fitted classifier.

    Args:
        X: n x d points.
        hamming: d flags of unordered choices.
        ell: d length scales.
        sigma2: latent variance.
        mean: latent mean.
        slope: n, so that the latent mean at x is `mean + k(x, X) slope`.
        root: n x n, so that the latent variance at x is `sigma2 - |k(x, X) root|^2`.
    """

    X: Array
    hamming: np.typing.NDArray[np.bool_]
    ell: Array
    sigma2: float
    mean: float
    slope: Array
    root: Array

    def log_probability(self, X: Tensor) -> Tensor:
        """Log probability (k) of working at X (k x d); differentiable in X."""
        difference = X.unsqueeze(-2) - torch.from_numpy(self.X)
        D = torch.where(torch.from_numpy(self.hamming), (difference != 0).to(X), difference**2)
        r = ((D / torch.from_numpy(self.ell) ** 2).sum(-1) + 1e-30).sqrt()
        k = self.sigma2 * (1 + _SQRT5 * r + 5 / 3 * r**2) * torch.exp(-_SQRT5 * r)
        mean = self.mean + k @ torch.from_numpy(self.slope)
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


def fit_feasibility(history: History) -> Feasibility | None:
    """Fit the classifier to successes and failures.

    Returns:
        None where nothing failed or nothing varies: everything is taken to work.
    """
    if not history.failures or not len(history.space):
        return None
    worked = list(dict.fromkeys(own.point for own in history.observations))
    X = np.array([*history.failures, *worked], dtype=np.float64)[:_MOST_POINTS]
    signs = np.array([-1.0] * len(history.failures) + [1.0] * len(worked))[:_MOST_POINTS]
    hamming = hamming_flags(history.space)
    # the share of failures, with one success and one half failure assumed beforehand
    mean = float(norm.ppf(((signs > 0).sum() + 1.0) / (len(signs) + 1.5)))
    D = distances(X, X, hamming)
    ell, sigma2 = _hyperparameters(D, signs, mean)
    K = sigma2 * matern(D, ell)
    _, gradient, W = _mode(K, signs, mean)
    half = np.sqrt(W)
    B = np.eye(len(X)) + half[:, None] * K * half
    root = np.linalg.solve(np.linalg.cholesky(B), np.diag(half)).T
    return Feasibility(X, hamming, ell, sigma2, mean, gradient, root)


def _likelihood(f: Array, signs: Array) -> tuple[float, Array, Array]:
    """Probit log likelihood, its gradient and minus its second derivative, at latent values f."""
    z = signs * f
    log_p = log_ndtr(z)
    ratio = np.exp(norm.logpdf(z) - log_p)
    return float(log_p.sum()), signs * ratio, ratio * (ratio + z)


def _mode(K: Array, signs: Array, mean: float) -> tuple[Array, Array, Array]:
    """Laplace's mode by Newton's method [Rasmussen2006, algorithm 3.1]; f is without the mean."""
    f = np.zeros(len(signs))
    for _ in range(_NEWTON_STEPS):
        _, gradient, W = _likelihood(f + mean, signs)
        half = np.sqrt(W)
        B = np.eye(len(f)) + half[:, None] * K * half
        b = W * f + gradient
        a = b - half * np.linalg.solve(B, half * (K @ b))
        previous, f = f, K @ a
        if np.abs(f - previous).max() < 1e-6:
            break
    _, gradient, W = _likelihood(f + mean, signs)
    return f, gradient, W


def _hyperparameters(D: Array, signs: Array, mean: float) -> tuple[Array, float]:
    d = D.shape[-1]

    def negative(theta: Array) -> float:
        K = math.exp(theta[d]) * matern(D, np.exp(theta[:d]))
        f, gradient, W = _mode(K, signs, mean)
        half = np.sqrt(W)
        _, log_det = np.linalg.slogdet(np.eye(len(f)) + half[:, None] * K * half)
        evidence = _likelihood(f + mean, signs)[0] - 0.5 * float(f @ gradient) - 0.5 * float(log_det)
        z = (theta[:d] - _PRIOR_ELL[0]) / _PRIOR_ELL[1]
        prior = -0.5 * float(z @ z) - 0.5 * ((theta[d] - _PRIOR_SIGMA2[0]) / _PRIOR_SIGMA2[1]) ** 2
        return -float(evidence + prior)

    start = np.array([_PRIOR_ELL[0]] * d + [_PRIOR_SIGMA2[0]])
    bounds = [(math.log(0.05), math.log(10.0))] * d + [(math.log(0.1), math.log(50.0))]
    result = minimize(negative, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 15})
    return np.exp(result.x[:d]), math.exp(result.x[d])
