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
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.cholesky import psd_safe_cholesky
from torch import Tensor

from hpo.errors import FitError
from hpo.models.distances import distances
from hpo.models.gp import PRIOR_SHARE, ObjectiveGP
from hpo.models.kernel import Form, MixedKernel, correlation_and_slope

_STARTS = ((0.5, 1e-3), (1.5, 1e-2))  # length scales and noise; many rows leave one optimum worth finding
_MANY_ROWS = 100
_STEPS = 60
PLACE = "covar_module"  # of the kernel of the configurations, where the model has no other

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
    with torch.no_grad():
        model.likelihood.raw_share.copy_(fitted.likelihood.raw_share)
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


def parameters_of(model: ObjectiveGP) -> tuple[Tensor, ...]:
    """Copies of the logarithms of length scales (d), signal variance, learned noise, and share."""
    ell, *others = (p.detach().clone() for p in searched(model).values())
    return ell.flatten(), *others


def searched(model: ObjectiveGP, place: str = PLACE) -> dict[str, Tensor]:
    """The parameters that a fit moves, by name.

    Args:
        place: of the kernel of the configurations in the model.
    """
    kernel, likelihood = cast(MixedKernel, model.get_submodule(place)), model.likelihood
    return {
        f"model.{place}.raw_lengthscale": kernel.raw_lengthscale,
        f"model.{place}.raw_outputscale": kernel.raw_outputscale,
        "likelihood.noise_covar.raw_noise": likelihood.noise_covar.raw_noise,
        "likelihood.raw_share": likelihood.raw_share,
    }


def _set(model: ObjectiveGP, logarithms: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        for parameter, value in zip(searched(model).values(), logarithms, strict=True):
            parameter.copy_(value.reshape(parameter.shape) if value.numel() > 1 else value)


def _ascend(model: ObjectiveGP, closure: Closure, start: tuple[float, float]) -> float:
    """The log posterior density that is reached from one start; NaN where nothing is finite."""
    ell, tau2 = map(math.log, start)
    _set(model, tuple(torch.tensor(own, dtype=torch.float64) for own in (ell, 0.0, tau2, PRIOR_SHARE[0])))
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


@dataclass(frozen=True)
class Further:
    """What a kernel has beside that of the configurations.

    Args:
        fixed: n x n covariance that no parameter changes.
        matrix: n x n, multiplied by the exponential of `raw`.
        raw: a parameter.
        prior: middle and deviation of it.
    """

    fixed: Tensor
    matrix: Tensor
    raw: Tensor
    prior: tuple[float, float]


def density_closure(model: ObjectiveGP, place: str = PLACE, further: Further | None = None) -> Closure:
    """Minus the log posterior density and its slopes along `searched`, as `fit_gpytorch_mll` takes it.

    Each call sets the model's mean, and the slopes as `grad`.

    Args:
        place: of the kernel of the configurations in the model.
        further: what else the model's kernel has; its parameter is the last one.
    """
    kernel, likelihood = cast(MixedKernel, model.get_submodule(place)), model.likelihood
    searching = [*searched(model, place).values(), *([further.raw] if further else [])]
    flags = np.isin(np.arange(kernel.ard_num_dims), kernel.choices)
    X = model.rows.numpy()
    D = torch.from_numpy(distances(X, X, flags)).flatten(0, 1)  # n^2 x d
    n, y = len(X), model.train_targets
    eye = torch.eye(n, dtype=torch.float64)
    centre, width = kernel.prior.ell
    noise = likelihood.log_noise_prior
    priors = [
        (centre + 0.5 * math.log(len(flags)), width),
        kernel.prior.sigma2,
        (float(noise.loc), float(noise.scale)),
        PRIOR_SHARE,
        *([further.prior] if further else []),
    ]
    fixed = further.fixed if further else torch.zeros(())

    @torch.no_grad()
    def closure() -> tuple[Tensor, tuple[Tensor, ...]]:
        scales = searching[0].flatten().mul(-2.0).exp()  # 1 / ell^2
        sigma2, learned = searching[1].exp(), searching[2].exp() / likelihood.counts
        correlation, slope = correlation_and_slope((D @ scales).view(n, n), kernel.form)
        signal = sigma2 * correlation
        shared = searching[3].exp() * likelihood.told
        other = further.raw.exp() * further.matrix if further else fixed
        L = psd_safe_cholesky(signal + fixed + other + torch.diag(likelihood.known + shared + learned))
        inverse = torch.cholesky_solve(eye, L)
        ones = inverse.sum(1)
        mean = (ones @ y) / ones.sum()
        model.mean_module.constant.copy_(mean)
        residual = y - mean
        alpha = inverse @ residual
        value = -0.5 * (residual @ alpha) - L.diagonal().log().sum()
        W = 0.5 * (torch.outer(alpha, alpha) - inverse)
        slopes = [
            sigma2 * ((W * slope).flatten() @ D) * scales,
            (W * signal).sum(),
            W.diagonal() @ learned,
            W.diagonal() @ shared,
            *([(W * other).sum()] if further else []),
        ]
        falls = []
        for parameter, own, (middle, deviation) in zip(searching, slopes, priors, strict=True):
            z = (parameter - middle) / deviation
            value = value - 0.5 * z.square().sum()
            falls.append(z / deviation - own.view(parameter.shape))
            parameter.grad = falls[-1]
        return -value, tuple(falls)

    return closure
