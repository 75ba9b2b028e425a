"""The fit of a process: the scales of the largest posterior density, by BoTorch's own fit.

Its gradient is worked out by hand [Rasmussen2006, 5.9]: at the sizes of a study a fit is then several times
quicker than with automatic differentiation, see docs/optimiser.md. The mean is the one that is best for the
scales, so that its own slope vanishes.

References:
    [Rasmussen2006] C. Rasmussen, C. Williams. Gaussian Processes for Machine Learning, 2006.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.cholesky import psd_safe_cholesky
from torch import Tensor

from hpo.errors import FitError
from hpo.models.distances import distances
from hpo.models.gp import PRIOR_TAU2, ObjectiveGP
from hpo.models.kernel import Form, correlation_and_slope

_STARTS = ((0.5, 1e-3), (1.5, 1e-2))  # length scales and noise; many rows leave one optimum worth finding
_MANY_ROWS = 100
_STEPS = 60

Closure = Callable[[], tuple[Tensor, tuple[Tensor, ...]]]


def fit_best(make: Callable[[Form], ObjectiveGP]) -> tuple[ObjectiveGP, float]:
    """The fitted process of the form that explains the values best, and the logarithm of its density.

    Raises:
        FitError: no form could be fitted.
    """
    ends, last = [], FitError("no kernel could be fitted")
    for form in Form:
        model = make(form)
        try:
            ends.append((model, fit(model)))
        except FitError as error:
            last = error
    if not ends:
        raise last
    return max(ends, key=lambda end: end[1] - end[0].covar_module.handicap)


def give_scales(model: ObjectiveGP, fitted: ObjectiveGP) -> ObjectiveGP:
    """A model with other rows, given the scales and the mean of a fitted one."""
    model.covar_module.load_state_dict(fitted.covar_module.state_dict())
    model.mean_module.load_state_dict(fitted.mean_module.state_dict())
    model.likelihood.noise_covar.load_state_dict(fitted.likelihood.noise_covar.state_dict())
    model.eval().requires_grad_(False)
    return model


def fit(model: ObjectiveGP) -> float:
    """Give a model the scales and the mean of the largest posterior density, from a few fixed starts.

    Returns:
        The logarithm of that density, up to a constant of n and d alone.

    Raises:
        FitError: the covariance matrix has no Cholesky factor at any start, or the values are not finite.
    """
    closure = density_closure(model)
    starts = _STARTS if len(model.rows) <= _MANY_ROWS else _STARTS[:1]
    ends = []
    for start in starts:
        value = _ascend(model, closure, start)
        if math.isfinite(value):
            ends.append((value, parameters_of(model)))
    if not ends:
        raise FitError("the covariance matrix of the observations could not be factorised")
    value, best = max(ends, key=lambda end: end[0])
    _set(model, best)
    closure()  # sets the mean
    model.eval().requires_grad_(False)
    return value


def parameters_of(model: ObjectiveGP) -> tuple[Tensor, Tensor, Tensor]:
    """Copies of the logarithms of the length scales (d), of the signal variance and of the learned noise."""
    raw = (p.detach().clone() for p in searched(model).values())
    ell, sigma2, tau2 = raw
    return ell.flatten(), sigma2, tau2


def searched(model: ObjectiveGP) -> dict[str, Tensor]:
    """The parameters that a fit moves, by name."""
    kernel, likelihood = model.covar_module, model.likelihood
    return {
        "model.covar_module.raw_lengthscale": kernel.raw_lengthscale,
        "model.covar_module.raw_outputscale": kernel.raw_outputscale,
        "likelihood.noise_covar.raw_noise": likelihood.noise_covar.raw_noise,
    }


def _set(model: ObjectiveGP, logarithms: tuple[Tensor, Tensor, Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(searched(model).values(), logarithms, strict=True):
            parameter.copy_(value.reshape(parameter.shape) if value.numel() > 1 else value)


def _ascend(model: ObjectiveGP, closure: Closure, start: tuple[float, float]) -> float:
    """The log posterior density that is reached from one start; NaN where nothing is finite."""
    ell, tau2 = (torch.tensor(math.log(value), dtype=torch.float64) for value in start)
    _set(model, (ell, torch.zeros((), dtype=torch.float64), tau2))
    options = {"parameters": searched(model), "options": {"maxiter": _STEPS}}
    try:
        fit_gpytorch_mll(
            ExactMarginalLogLikelihood(model.likelihood, model),
            closure=closure,
            optimizer_kwargs=options,
            max_attempts=1,
            warning_handler=lambda warning: True,  # an end after so many steps is an end
        )
        return -float(closure()[0])
    except (ModelFittingError, RuntimeError, ValueError):
        return math.nan


def density_closure(model: ObjectiveGP) -> Closure:
    """Minus the log posterior density and its slopes along `searched`, as `fit_gpytorch_mll` takes it.

    Each call sets the model's mean, and the slopes as `grad`.
    """
    kernel, likelihood = model.covar_module, model.likelihood
    flags = np.isin(np.arange(kernel.ard_num_dims), kernel.choices)
    X = model.rows.numpy()
    D = torch.from_numpy(distances(X, X, flags)).flatten(0, 1)  # n^2 x d
    n, y = len(X), model.train_targets
    eye = torch.eye(n, dtype=torch.float64)
    centre, width = kernel.prior.ell
    priors = (
        (centre + 0.5 * math.log(len(flags)), width),
        kernel.prior.sigma2,
        PRIOR_TAU2,
    )

    @torch.no_grad()
    def closure() -> tuple[Tensor, tuple[Tensor, ...]]:
        parameters = tuple(searched(model).values())
        scales = parameters[0].flatten().mul(-2.0).exp()  # 1 / ell^2
        sigma2, learned = parameters[1].exp(), parameters[2].exp() / likelihood.counts
        correlation, slope = correlation_and_slope((D @ scales).view(n, n), kernel.form)
        signal = sigma2 * correlation
        L = psd_safe_cholesky(signal + torch.diag(likelihood.known + learned))
        inverse = torch.cholesky_solve(eye, L)
        ones = inverse.sum(1)
        mean = (ones @ y) / ones.sum()
        model.mean_module.constant.copy_(mean)
        residual = y - mean
        alpha = inverse @ residual
        value = -0.5 * (residual @ alpha) - L.diagonal().log().sum()
        W = 0.5 * (torch.outer(alpha, alpha) - inverse)
        slopes = (
            sigma2 * ((W * slope).flatten() @ D) * scales,
            (W * signal).sum(),
            W.diagonal() @ learned,
        )
        falls = []
        for parameter, own, (middle, deviation) in zip(parameters, slopes, priors, strict=True):
            z = (parameter - middle) / deviation
            value = value - 0.5 * z.square().sum()
            falls.append(z / deviation - own.view(parameter.shape))
            parameter.grad = falls[-1]
        return -value, tuple(falls)

    return closure
