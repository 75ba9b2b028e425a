"""One Gaussian process over the unit cube: its kernel, its priors and the fit of its hyperparameters.

NumPy and SciPy, float64, with the gradient worked out by hand: at the sizes of a study that is several times
quicker than automatic differentiation. Notation:

    X       n x d   points in [0, 1]^d
    y       n       standardised values
    noise   n       known noise variances, 0 where none is known
    counts  n       measurements pooled in each row
    ell     d       length scales; sigma2: signal variance; tau2: learned noise variance of one measurement

The kernel k is a Matern-5/2, or a squared exponential where the data clearly speak for it, of the distance
r, r^2 = sum_j D_j(x, x') / ell_j^2, where D_j is the squared difference, or for an unordered choice 0 for the
same value and 1 for different ones (the Hamming distance). That is the kernel on an embedding in which all
values of a choice are equally far apart, so it is positive definite. The covariance of the rows is
sigma2 k(X, X) + diag(noise + tau2 / counts).

References:
    [Rasmussen2006] C. Rasmussen, C. Williams. Gaussian Processes for Machine Learning, 2006.
    [Hvarfner2024] C. Hvarfner, E. Hellsten, L. Nardi. Vanilla Bayesian optimization performs great in high
        dimensions. ICML 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from hpo.errors import FitError

Array = NDArray[np.float64]

_SQRT5 = math.sqrt(5.0)
_JITTER = 1e-8  # of the signal variance; keeps a Cholesky factor of equal points possible
_STARTS = ((0.5, 1e-3), (1.5, 1e-2))  # length scales and noise; many rows leave one optimum worth finding
_MANY_ROWS = 100
_BOUNDS_ELL = (math.log(0.02), math.log(20.0))
_BOUNDS_SIGMA2 = (math.log(0.02), math.log(50.0))
_BOUNDS_TAU2 = (math.log(1e-6), math.log(1.0))


class Kernel(StrEnum):
    """The shape of the covariance over the distance."""

    SQUARED_EXPONENTIAL = "squared_exponential"
    MATERN = "matern"


@dataclass(frozen=True)
class Hyperparameters:
    """What a fit finds.

    Args:
        ell: d length scales.
        sigma2: signal variance.
        tau2: learned noise variance of one measurement.
        mean: constant mean.
        kernel: its shape.
    """

    ell: Array
    sigma2: float
    tau2: float
    mean: float
    kernel: Kernel = Kernel.MATERN


@dataclass(frozen=True)
class Data:
    """What a process is fitted to; see the notation above. `hamming`: d flags of unordered choices."""

    X: Array
    y: Array
    noise: Array
    counts: Array
    hamming: NDArray[np.bool_]

    def at_most(self, count: int) -> Data:
        """All rows, or so many of them drawn at random, the same ones at every call."""
        if len(self.y) <= count:
            return self
        keep = np.sort(np.random.default_rng(0).permutation(len(self.y))[:count])
        return Data(self.X[keep], self.y[keep], self.noise[keep], self.counts[keep], self.hamming)


def distances(X: Array, Z: Array, hamming: NDArray[np.bool_]) -> Array:
    """D_j(x, z) for every pair: n x p x d."""
    difference = X[:, None, :] - Z[None, :, :]
    squared = difference**2
    if hamming.any():
        squared[..., hamming] = difference[..., hamming] != 0
    return squared


def furthest_first(X: Array, count: int, hamming: NDArray[np.bool_], first: int = 0) -> list[int]:
    """The numbers of `count` rows of X (n x d), from `first` on each the furthest from those before."""
    chosen, nearest = [first], np.full(len(X), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, distances(X, X[chosen[-1:]], hamming).sum(-1)[:, 0])
        chosen.append(int(nearest.argmax()))
    return chosen


def matern(D: Array, ell: Array) -> Array:
    """Matern-5/2 of D (... x d) with length scales `ell`, signal variance 1."""
    r = np.sqrt(D @ (1.0 / ell**2))
    return (1.0 + _SQRT5 * r + 5.0 / 3.0 * r**2) * np.exp(-_SQRT5 * r)


def covariance(D: Array, ell: Array, kernel: Kernel) -> Array:
    """k of D (... x d) with length scales `ell`, signal variance 1."""
    if kernel is Kernel.MATERN:
        return matern(D, ell)
    values: Array = np.exp(-0.5 * (D @ (1.0 / ell**2)))
    return values


@dataclass(frozen=True)
class _KernelPrior:
    """What is thought of a kernel beforehand; the priors are normal in the logarithm: mean, deviation.

    Args:
        ell: of the length scales, for one dimension; they grow with the root of d, as distances do
            [Hvarfner2024].
        handicap: nats by which the posterior density must be larger before the kernel is used, and as many
            more for each dimension.
    """

    ell: tuple[float, float]
    sigma2: tuple[float, float] = (0.0, 1.0)
    handicap: tuple[float, float] = (0.0, 0.0)


# Chosen by measurement, see docs/optimiser.md. A squared exponential is far ahead on polynomials (36 nats for
# 50 points of VehicleSafety). Long scales and a large variance, since results that crowd at the front spread
# little, let it foretell them better; such priors suit more data, so more is asked before it is used. A few
# nats, as noise or choices give, made it overconfident: it cost a sixth of the hypervolume on the mixed
# problem, and with long scales a fiftieth after a related study, which is a choice as well.
_MATERN = _KernelPrior((math.log(0.3), 0.8))
_SMOOTH = _KernelPrior((math.log(0.8), 0.8), (math.log(10.0), 1.0), handicap=(3.0, 0.5))
_SMOOTH_WITH_CHOICES = _KernelPrior((math.log(0.3), 0.8), handicap=(5.0, 0.0))
_PRIOR_TAU2 = (math.log(1e-5), 2.0)


def _prior_of(data: Data, kernel: Kernel) -> _KernelPrior:
    if kernel is Kernel.MATERN:
        return _MATERN
    return _SMOOTH_WITH_CHOICES if data.hamming.any() else _SMOOTH


def _handicap(data: Data, kernel: Kernel) -> float:
    nats, nats_each = _prior_of(data, kernel).handicap
    return nats + nats_each * len(data.hamming)


def _log_prior(theta: Array, prior: _KernelPrior) -> tuple[float, Array]:
    """Log density of the priors, up to a constant, and its gradient; theta is the logarithm of all."""
    gradient = np.zeros_like(theta)
    d = len(theta) - 2
    centre, width = prior.ell
    z = (theta[:d] - centre - 0.5 * math.log(d)) / width
    value = -0.5 * float(z @ z)
    gradient[:d] = -z / width
    for index, (centre, width) in ((d, prior.sigma2), (d + 1, _PRIOR_TAU2)):
        z1 = (theta[index] - centre) / width
        value -= 0.5 * z1**2
        gradient[index] = -z1 / width
    return value, gradient


def signal_and_slope(r: Array, sigma2: float, kernel: Kernel) -> tuple[Array, Array]:
    """The covariance at distances r, and what D_j / ell_j^2 multiplies in its slope along log ell_j."""
    if kernel is Kernel.SQUARED_EXPONENTIAL:
        signal = sigma2 * np.exp(-0.5 * r**2)
        return signal, signal
    decay = np.exp(-_SQRT5 * r)
    signal = sigma2 * (1.0 + _SQRT5 * r + 5.0 / 3.0 * r**2) * decay
    return signal, 5.0 / 3.0 * sigma2 * (1.0 + _SQRT5 * r) * decay


def _objective(theta: Array, data: Data, D: Array, kernel: Kernel) -> tuple[float, Array]:
    """Negative log posterior of theta = log(ell, sigma2, tau2) and its gradient [Rasmussen2006, 5.9]."""
    n, d = data.X.shape
    ell, sigma2, tau2 = np.exp(theta[:d]), math.exp(theta[d]), math.exp(theta[d + 1])
    r = np.sqrt(D @ (1.0 / ell**2))
    signal, slope = signal_and_slope(r, sigma2, kernel)
    learned = tau2 / data.counts
    K = signal + np.diag(data.noise + learned + _JITTER * sigma2)
    factor = cho_factor(K, lower=True, check_finite=False)
    inverse = cho_solve(factor, np.eye(n), check_finite=False)
    ones = inverse.sum(1)
    # the mean that is best for these hyperparameters; its own gradient vanishes there
    residual = data.y - float(ones @ data.y) / float(ones.sum())
    alpha = inverse @ residual
    log_det = 2.0 * float(np.log(np.diag(factor[0])).sum())
    likelihood = -0.5 * (float(residual @ alpha) + log_det)
    W = 0.5 * (np.outer(alpha, alpha) - inverse)
    gradient = np.empty_like(theta)
    gradient[:d] = np.einsum("ij,ijk->k", W * slope, D) / ell**2
    gradient[d] = float((W * signal).sum())
    gradient[d + 1] = float(np.diag(W) @ learned)
    prior, prior_gradient = _log_prior(theta, _prior_of(data, kernel))
    return -(likelihood + prior), -(gradient + prior_gradient)


def fit(data: Data) -> tuple[Hyperparameters, float]:
    """The kernel and hyperparameters of the largest posterior density, from a few fixed starts.

    Args:
        data: at least one row.

    Returns:
        The hyperparameters, and the logarithm of that density up to a constant of n and d alone.

    Raises:
        FitError: the covariance matrix has no Cholesky factor at any start, or the values are not finite.
    """
    D = distances(data.X, data.X, data.hamming)
    starts = _STARTS if len(data.y) <= _MANY_ROWS else _STARTS[:1]
    optima = [best for kernel in Kernel for start in starts if (best := _ascend(data, D, kernel, start))]
    if not optima:
        raise FitError("the covariance matrix of the observations could not be factorised")
    value, theta, kernel = min(optima, key=lambda best: best[0] + _handicap(data, best[2]))
    return _with_mean(data, D, theta, kernel), -value


def _ascend(
    data: Data, D: Array, kernel: Kernel, begin: tuple[float, float]
) -> tuple[float, Array, Kernel] | None:
    """The negative log posterior and its place, from one start; None where nothing is finite."""
    d = data.X.shape[1]
    start = np.array([math.log(begin[0])] * d + [0.0, math.log(begin[1])])
    bounds = [_BOUNDS_ELL] * d + [_BOUNDS_SIGMA2, _BOUNDS_TAU2]
    options = {"maxiter": 60}
    try:
        result = minimize(
            _objective, start, (data, D, kernel), "L-BFGS-B", jac=True, bounds=bounds, options=options
        )
    except (np.linalg.LinAlgError, ValueError):
        return None
    return (float(result.fun), result.x, kernel) if math.isfinite(result.fun) else None


def _with_mean(data: Data, D: Array, theta: Array, kernel: Kernel) -> Hyperparameters:
    d = data.X.shape[1]
    ell, sigma2, tau2 = np.exp(theta[:d]), math.exp(theta[d]), math.exp(theta[d + 1])
    factor = factorised(D, data, Hyperparameters(ell, sigma2, tau2, 0.0, kernel))
    ones = cho_solve(factor, np.ones(len(data.y)))
    return Hyperparameters(ell, sigma2, tau2, float(ones @ data.y) / float(ones.sum()), kernel)


def factorised(D: Array, data: Data, fitted: Hyperparameters) -> tuple[Array, bool]:
    """The Cholesky factor of the covariance of the rows, as `scipy.linalg.cho_solve` takes it."""
    K = fitted.sigma2 * covariance(D, fitted.ell, fitted.kernel)
    K += np.diag(data.noise + fitted.tau2 / data.counts + _JITTER * fitted.sigma2)
    factor: tuple[Array, bool] = cho_factor(K, lower=True)
    return factor


def leave_one_out(data: Data, fitted: Hyperparameters) -> tuple[Array, Array]:
    """What the process says of every row without having seen it [Rasmussen2006, 5.12].

    Args:
        data: n rows, n at least 2.
        fitted: hyperparameters; they did see the row.

    Returns:
        n means and n standard deviations of the measurement, its noise included.
    """
    factor = factorised(distances(data.X, data.X, data.hamming), data, fitted)
    inverse = cho_solve(factor, np.eye(len(data.y)))
    diagonal = np.diag(inverse)
    mean = data.y - inverse @ (data.y - fitted.mean) / diagonal
    return mean, np.sqrt(1.0 / diagonal)
