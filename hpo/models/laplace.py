"""Laplace's approximation of a Gaussian process classifier with a probit link, and the fit of its scales.

NumPy and SciPy, float64, with the gradient worked out by hand. Notation:

    signs   n       1 where a point worked, -1 where it did not
    D       n x n x d   squared differences, see `hpo.models.distances`
    K       n x n   covariance of the latent values, sigma2 times a Matern-5/2
    f       n       latent values without their mean; f = K a at the mode
    W       n       minus the second derivative of the log likelihood there
    B       n x n   I + W^1/2 K W^1/2; L its lower Cholesky factor

References:
    [Rasmussen2006] C. Rasmussen, C. Williams. Gaussian Processes for Machine Learning, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import log_ndtr

from hpo.models.distances import Array
from hpo.models.kernel import Form, correlation_and_slope

TYPICAL_ELL, TYPICAL_SIGMA2 = 0.5, 4.0  # medians of the log-normal priors
_WIDTH = 0.7  # standard deviation of the logarithm of each
_BOUNDS_ELL = (math.log(0.05), math.log(10.0))
_BOUNDS_SIGMA2 = (math.log(0.1), math.log(50.0))
_FIT_STEPS = 15
_NEWTON_STEPS = 30
_HALVINGS = 10
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Mode:
    """The normal that stands for the posterior.

    Args:
        a: n, the gradient of the log likelihood at the mode; the latent values there are the mean plus K a.
        W: n.
        factor: L, n x n, zeros above the diagonal.
    """

    a: Array
    W: Array
    factor: Array


def likelihood(f: Array, signs: Array) -> tuple[float, Array, Array, Array]:
    """Log likelihood of n latent values, mean included, its gradient, W and its third derivative (n each)."""
    z = signs * f
    log_p = log_ndtr(z)
    ratio = np.exp(-0.5 * z**2 - _LOG_SQRT_2PI - log_p)
    W = ratio * (ratio + z)
    third = signs * ratio * ((z + ratio) * (z + 2.0 * ratio) - 1.0)
    return float(log_p.sum()), signs * ratio, W, third


def find_mode(K: Array, signs: Array, mean: Array, start: Array | None = None) -> Mode:
    """Newton's method with steps halved until they rise [Rasmussen2006, algorithm 3.1].

    Args:
        K: n x n; n may be 0.
        signs: n.
        mean: n latent means.
        start: n, an `a` to begin with if it is better than 0.
    """
    a = np.zeros(len(signs))
    if start is not None and _height(K, signs, mean, start) > _height(K, signs, mean, a):
        a = start
    for _ in range(_NEWTON_STEPS if len(a) else 0):
        f = K @ a
        _, gradient, W, _ = likelihood(f + mean, signs)
        half = np.sqrt(W)
        b = W * f + gradient
        step = b - half * cho_solve((_factor(K, W), True), half * (K @ b), check_finite=False) - a
        before, share = _height(K, signs, mean, a), 1.0
        while _height(K, signs, mean, a + share * step) < before and share > 0.5**_HALVINGS:
            share *= 0.5
        a = a + share * step
        if np.abs(K @ step).max() < 1e-6:
            break
    _, gradient, W, _ = likelihood(K @ a + mean, signs)
    return Mode(gradient, W, _factor(K, W))


def _height(K: Array, signs: Array, mean: Array, a: Array) -> float:
    """The log posterior of f = K a, up to a constant."""
    f = K @ a
    return likelihood(f + mean, signs)[0] - 0.5 * float(a @ f)


def _factor(K: Array, W: Array) -> Array:
    half = np.sqrt(W)
    B = np.eye(len(K)) + half[:, None] * K * half
    return np.asarray(np.linalg.cholesky(B))


def fit(D: Array, signs: Array, mean: Array) -> tuple[Array, float]:
    """The d length scales and the signal variance of the largest marginal likelihood times prior.

    Args:
        D: n x n x d, n at least 1.
        signs: n.
        mean: n latent means.
    """
    d = D.shape[-1]
    centre = np.array([math.log(TYPICAL_ELL)] * d + [math.log(TYPICAL_SIGMA2)])
    last = np.zeros(len(signs))

    def negative(theta: Array) -> tuple[float, Array]:
        nonlocal last
        value, gradient, last = evidence(theta, D, signs, mean, last)
        z = (theta - centre) / _WIDTH
        return -(value - 0.5 * float(z @ z)), -(gradient - z / _WIDTH)

    bounds = [_BOUNDS_ELL] * d + [_BOUNDS_SIGMA2]
    result = minimize(
        negative, centre, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": _FIT_STEPS}
    )
    return np.exp(result.x[:d]), math.exp(result.x[d])


def evidence(
    theta: Array, D: Array, signs: Array, mean: Array, start: Array | None = None
) -> tuple[float, Array, Array]:
    """Log marginal likelihood, its gradient along theta, and `a` [Rasmussen2006, algorithm 5.1].

    Args:
        theta: d + 1, the logarithms of the length scales and of the signal variance.
        D: n x n x d.
        signs: n.
        mean: n latent means.
        start: n, see `find_mode`.
    """
    d = D.shape[-1]
    ell, sigma2 = np.exp(theta[:d]), math.exp(theta[d])
    parts = correlation_and_slope(torch.from_numpy(D @ (1.0 / ell**2)), Form.MATERN)
    K, slope = (sigma2 * part.numpy() for part in parts)
    mode = find_mode(K, signs, mean, start)
    a, half = mode.a, np.sqrt(mode.W)
    f = K @ a
    log_likelihood, gradient, _, third = likelihood(f + mean, signs)
    value = log_likelihood - 0.5 * float(a @ f) - float(np.log(np.diag(mode.factor)).sum())
    root = solve_triangular(mode.factor, np.diag(half), lower=True, check_finite=False)
    R = root.T @ root  # (K + W^-1)^-1
    # theta moves the mode too, and W with it
    variance = np.diag(K) - ((root @ K) ** 2).sum(0)
    by_mode = 0.5 * variance * third
    by_mode = by_mode - R @ (K @ by_mode)
    M = 0.5 * (np.outer(a, a) - R) + np.outer(by_mode, gradient)
    along_ell = np.einsum("ij,ijk->k", M * slope, D) / ell**2
    return value, np.append(along_ell, float((M * K).sum())), a
