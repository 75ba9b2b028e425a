"""Final values foretold from what trials measured at their rungs: the joint model over (x, s).

A recursive autoregressive process [LeGratiet2014, Perdikaris2017]: what trial x measures at a rung is what it
measured at the rung before, z, plus a Gaussian process of (x, z) of its own for each step from rung to rung,

    y(x, next) = z + c + g(x, z) + b z + s(z) + e z
    k = k_mixed((x, z), (x', z')) + slope^2 z z' + bend^2 spline(z, z') + spread^2 z z' [same trial]

with z counted from the best value at the rung. Since a trial that has measured at a rung has measured at
those before, the steps are independent of each other given the values, and each is a fit to as many rows as
trials made that step: a fraction of the rows of one process over all rungs. The second term says that a
trial that is behind may catch up (b); the third, of a cubic smoothing spline [Wahba1978], that those further
behind may do so at another rate (s), so that beyond what was seen through it is the less certain the further
away; the last that it is less certain the more it has to catch up (e). A forecast goes step by step from the
last rung that a trial has reached, by quasi-random draws.

Beside BoTorch's kernels of fidelities it is measured by `python -m benchmarks.fidelity.foretelling`, see
docs/early_stopping.md. float64; values are those to minimise.

References:
    [LeGratiet2014] L. Le Gratiet, J. Garnier. Recursive co-kriging model for design of computer experiments
        with multiple levels of fidelity. International Journal for Uncertainty Quantification 4(5), 2014.
    [Perdikaris2017] P. Perdikaris, M. Raissi, A. Damianou, N. Lawrence, G. Karniadakis. Nonlinear information
        fusion algorithms for data-efficient multi-fidelity modelling. Proc. of the Royal Society A 473, 2017.
    [Wahba1978] G. Wahba. Improper priors, spline smoothing and the problem of guarding against model errors
        in regression. Journal of the Royal Statistical Society B 40(3), 1978.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.utils.constraints import LogTransformedInterval
from gpytorch.kernels import Kernel
from gpytorch.mlls import ExactMarginalLogLikelihood
from scipy.stats import norm, qmc
from torch import Tensor

from hpo.errors import FitError
from hpo.models.distances import Array
from hpo.models.gp import ObjectiveGP
from hpo.models.history import Curve
from hpo.models.kernel import Form, MixedKernel, normal_prior
from hpo.models.transforms import make_transform, outlier_floor

FEWEST = 4  # trials that made a step, before it is foretold
DRAWS = 64  # of final values
_SLOPE = 1.0  # prior deviation of b: values of any rung are in the same unit
_BEND = 0.7  # deviation from the line at the worst value, as a share of the slope's; chosen on seeds 0 to 2
_BOUNDS_SPREAD2 = (1e-6, 10.0)
_PRIOR_SPREAD2 = (math.log(0.1), 1.5)  # of its logarithm, in the model's unit at the worst z
_PRIOR_NOISE = (math.log(0.02), 1.5)  # of what trials differ in for no reason that is known, likewise
_STEPS = 50  # of an ascent
_REMEMBERED = 64


class StepKernel(Kernel):  # type: ignore[misc]
    """The covariance above, of inputs (x, z) with z in [0, 1]; 0 is the best value at the rung.

    Args:
        d: dimensions of x.
        choices: the numbers of those that are unordered choices.
        slope2: the variance of b, in the model's unit.
    """

    def __init__(self, d: int, choices: Sequence[int], slope2: float) -> None:
        super().__init__()
        self.mixed = MixedKernel(d + 1, choices, Form.MATERN)
        self.slope2 = slope2
        self.register_parameter("raw_spread2", torch.nn.Parameter(torch.tensor(_PRIOR_SPREAD2[0])))
        self.register_constraint("raw_spread2", LogTransformedInterval(*_BOUNDS_SPREAD2))
        self.register_prior("spread2_prior", normal_prior(*_PRIOR_SPREAD2), _log_spread2, _set_log_spread2)

    @property
    def spread2(self) -> Tensor:
        """The variance of e, in the model's unit."""
        value: Tensor = self.raw_spread2_constraint.transform(self.raw_spread2)
        return value

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **_: Any) -> Tensor:
        """The covariance between x1 (n x d+1) and x2 (p x d+1): n x p; `diag`: n."""
        z1, z2 = x1[..., -1], x2[..., -1]
        mixed: Tensor = self.mixed.forward(x1, x2, diag=diag)
        if diag:
            return mixed + (self.slope2 + self.spread2) * z1 * z2 + self.slope2 * _BEND**2 * spline(z1, z2)
        z1, z2 = z1.unsqueeze(-1), z2.unsqueeze(-2)
        same = (x1.unsqueeze(-2) == x2.unsqueeze(-3)).all(-1)
        linear = (self.slope2 + self.spread2 * same) * z1 * z2
        return mixed + linear + self.slope2 * _BEND**2 * spline(z1, z2)


def spline(z1: Tensor, z2: Tensor) -> Tensor:
    """The covariance of a Wiener process integrated from 0, where it and its slope are 0; 1 at (1, 1)."""
    lower, upper = torch.minimum(z1, z2).clamp_min(0), torch.maximum(z1, z2)
    return lower**2 * (3 * upper - lower) / 2


def _log_spread2(kernel: StepKernel) -> Tensor:
    return kernel.spread2.log()


def _set_log_spread2(kernel: StepKernel, value: Tensor) -> None:
    kernel.initialize(raw_spread2=value)


@dataclass(frozen=True)
class Step:
    """One objective from a rung to the next one.

    Args:
        process: of the differences, inputs (x, z).
        low: the best value at the rung; z = 0.
        span: from there to the worst; z = 1.
        trials: that made the step.
        noise: variance of a difference beyond the process, in the objective's unit.
    """

    process: ObjectiveGP
    low: float
    span: float
    trials: int
    noise: float

    def next(self, point: Array, values: Array) -> tuple[Array, Array]:
        """Means and variances (k each) of the next value after these (k) of the trial at a point (d)."""
        z = ((values - self.low) / self.span).clip(-0.2, 1.5)
        inputs = np.column_stack([np.tile(point, (len(z), 1)), z])
        with torch.no_grad():
            posterior = self.process.posterior(torch.from_numpy(inputs))
        mean, variance = posterior.mean[:, 0].numpy(), posterior.variance[:, 0].numpy()
        # the scales were fitted to few differences: so they are less certain than they say
        few = (self.trials + 2) / (self.trials - 3)
        return values + mean, few * (variance + self.noise)


def fit_step(X: Array, z: Array, y: Array, seen: Array, choices: tuple[int, ...]) -> Step:
    """Fit the step between two rungs.

    Standard errors are left aside: they are over the choice of examples, which all trials share, so of a
    difference next to nothing of them is left. What noise there is is learned.

    Args:
        X: n x d points of the trials that made it.
        z: n values at the rung.
        y: n values at the next one.
        seen: values at the rung of all trials, also of those that went no further.

    Raises:
        FitError: fewer than `FEWEST` trials, or numbers that cannot be factorised.
    """
    if len(X) < FEWEST:
        raise FitError(f"trials that went from one rung to the next: {len(X)}, needed {FEWEST}")
    low, span = float(seen.min()), float(np.ptp(seen)) or 1.0
    difference = y - z
    centred = make_transform(difference, log=False)
    # trials that went no further differ more from each other than those that did
    transform = centred.rescaled(centred.centre, max(centred.scale, 0.5 * float(seen.std())))
    inputs = torch.from_numpy(np.column_stack([X, (z - low) / span]))
    process = ObjectiveGP(
        inputs,
        torch.from_numpy(difference).unsqueeze(-1),
        torch.zeros(len(X), 1, dtype=torch.float64),
        choices,
        outcome_transform=transform,
    )
    process.covar_module = StepKernel(X.shape[1], choices, (_SLOPE * span / transform.scale) ** 2)
    process.likelihood.log_noise_prior = normal_prior(*_PRIOR_NOISE)
    _fit(process)
    return Step(process, low, span, len(X), float(process.likelihood.noise) * transform.scale**2)


def _fit(process: ObjectiveGP) -> None:
    """The scales of the largest posterior density from one start."""
    kernel = process.covar_module.mixed
    middle, _ = kernel.prior.ell
    start = middle + 0.5 * math.log(kernel.ard_num_dims)
    kernel.initialize(raw_lengthscale=torch.full_like(kernel.raw_lengthscale, start))
    noise = process.likelihood.noise_covar
    noise.initialize(raw_noise=torch.full_like(noise.raw_noise, math.log(1e-2)))
    process.train()
    try:
        fit_gpytorch_mll(
            ExactMarginalLogLikelihood(process.likelihood, process),
            optimizer_kwargs={"options": {"maxiter": _STEPS}},
            max_attempts=1,
            warning_handler=lambda warning: True,  # an end after so many steps is an end
        )
    except (ModelFittingError, RuntimeError, ValueError) as error:
        raise FitError(f"the step between two rungs could not be fitted: {error}") from error
    process.eval().requires_grad_(False)


@dataclass(frozen=True)
class Foretold:
    """Final values of one trial.

    Args:
        draws: S x m.
        means: m.
        deviations: m.
        lower: m lower ends of 90% intervals.
        upper: m upper ends.
    """

    draws: Array
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


class CurveModel:
    """Foretells the final values of trials from their rungs.

    Args:
        curves: of all trials, those that have ended at their full length (share 1) among them.
        choices: the numbers of the inputs that are unordered choices.

    Raises:
        FitError: none has a rung.
    """

    def __init__(self, curves: Sequence[Curve], choices: tuple[int, ...]) -> None:
        self._curves, self._choices = tuple(sorted(curves)), choices
        self._shares = sorted({share for curve in curves for share in curve.shares} | {1.0})
        if len(self._shares) < 2:
            raise FitError("no trial has measured at a rung")
        self._objectives = len(next(curve for curve in curves if curve.rungs).rungs[0][1])

    def foretold(self, curve: Curve) -> Foretold:
        """The final values of a trial that has reached a rung and not its end.

        Raises:
            FitError: a step on its way could not be fitted.
        """
        draws = np.column_stack([self._of_objective(curve, column) for column in range(self._objectives)])
        low, high = np.quantile(draws, (0.05, 0.95), axis=0)
        described = (draws.mean(0), draws.std(0), low, high)
        return Foretold(draws, *(tuple(each.tolist()) for each in described))

    def _of_objective(self, curve: Curve, column: int) -> Array:
        """Draws of one final value."""
        place = self._shares.index(curve.shares[-1])
        values = np.full(DRAWS, curve.rungs[-1][1][column])
        point = np.array(curve.point)
        normals = _normals(len(self._shares), self._objectives)
        for at in range(place, len(self._shares) - 1):
            step = _step(self._curves, self._choices, self._shares[at], self._shares[at + 1], column)
            mean, variance = step.next(point, values)
            values = mean + np.sqrt(variance) * normals[:, at * self._objectives + column]
        return values


@lru_cache(_REMEMBERED)
def _normals(rungs: int, objectives: int) -> Array:
    """Quasi-random standard normal draws, one column a step and objective; the same for every trial."""
    points = qmc.Sobol(rungs * objectives, scramble=True, rng=np.random.default_rng(0)).random(DRAWS)
    draws: Array = norm.ppf(points.clip(1e-6, 1 - 1e-6))
    return draws


@lru_cache(_REMEMBERED)
def _step(
    curves: tuple[Curve, ...], choices: tuple[int, ...], share: float, following: float, column: int
) -> Step:
    """The step of one objective; remembered, as curves come one by one and are asked for many times."""
    seen = np.array([known[0][column] for curve in curves if (known := curve.at(share))])
    worst = _worst(seen)
    made = [
        (curve.point, before[0][column], after[0][column])
        for curve in curves
        if (before := curve.at(share)) and (after := curve.at(following))
    ]
    X = np.array([point for point, _, _ in made])
    z, y = (np.minimum([row[side] for row in made], worst) for side in (1, 2))
    return fit_step(X, z, y, np.minimum(seen, worst), choices)


def _worst(values: Array) -> float:
    """The largest value that is no outlier."""
    floor = outlier_floor(-values)
    return math.inf if floor is None else -floor
