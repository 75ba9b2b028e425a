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
from hpo.models.fit import Closure, Further, density_closure, searched
from hpo.models.gp import ObjectiveGP
from hpo.models.history import Curve
from hpo.models.kernel import Form, MixedKernel, normal_prior
from hpo.models.posterior import Posterior
from hpo.models.transforms import ObjectiveTransform, make_transform, outlier_floor
from hpo.space.space import Point

FEWEST = 4  # trials that made a step, before it is foretold
DRAWS = 64  # of final values
_SLOPE = 1.0  # prior deviation of b: values of any rung are in the same unit
_BEND = 0.7  # deviation from the line at the worst value, as a share of the slope's; chosen on seeds 0 to 2
_BOUNDS_SPREAD2 = (1e-6, 10.0)
_PRIOR_SPREAD2 = (math.log(0.1), 1.5)  # of its logarithm, in the model's unit at the worst z
_STEPS = 50  # of an ascent
_PLACE = "covar_module.mixed"  # of the kernel of the configurations
_REMEMBERED = 64
_ENTRIES = 2**16  # of a covariance that is made at once: what a processor keeps near


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
    def outputscale(self) -> Tensor:
        """The signal variance of the first term."""
        return self.mixed.outputscale

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
            return mixed + self.caught_up(z1, z2) + self.spread2 * z1 * z2
        return mixed + self.caught_up(z1[..., None], z2[..., None, :]) + self.spread2 * alike(x1, x2)

    def caught_up(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Of the second and the third term."""
        return self.slope2 * (z1 * z2 + _BEND**2 * spline(z1, z2))


def alike(x1: Tensor, x2: Tensor) -> Tensor:
    """z z' where both rows are the same trial's, else 0: n x p."""
    same = (x1.unsqueeze(-2) == x2.unsqueeze(-3)).all(-1)
    return same * x1[..., -1].unsqueeze(-1) * x2[..., -1].unsqueeze(-2)


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
        units: of its outcomes.
        low: the best value at the rung; z = 0.
        span: from there to the worst; z = 1.
        trials: that made the step.
        noise: variance of a difference beyond the process, in the objective's unit.
    """

    process: Posterior
    units: ObjectiveTransform
    low: float
    span: float
    trials: int
    noise: float

    def next(self, points: Array, values: Array) -> tuple[Array, Array]:
        """Means and variances (k x S each) of what follows values (k x S) of trials at points (k x d)."""
        z = ((values - self.low) / self.span).clip(-0.2, 1.5)
        inputs = np.column_stack([np.repeat(points, values.shape[1], axis=0), z.ravel()])
        with torch.no_grad():
            blocks = torch.split(torch.from_numpy(inputs), max(1, _ENTRIES // self.trials))
            modelled, deviations = zip(*map(self.process.posterior, blocks), strict=True)
        mean = self.units.untransform(torch.cat(modelled)[:, 0])[0].numpy().reshape(z.shape)
        variance = (torch.cat(deviations) * self.units.scale).square().numpy().reshape(z.shape)
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
    process.covar_module = StepKernel(X.shape[1], choices, (_SLOPE * span / transform.scale) ** 2).double()
    _fit(process)
    noise = float(process.likelihood.noise) * transform.scale**2
    return Step(Posterior(process), transform, low, span, len(X), noise)


def step_closure(process: ObjectiveGP) -> Closure:
    """Minus the log posterior density of a step, and its slopes, as `fit_gpytorch_mll` takes it."""
    kernel, rows = process.covar_module, process.rows
    z = rows[:, -1]
    fixed = kernel.caught_up(z.unsqueeze(-1), z)
    further = Further(fixed, alike(rows, rows), kernel.raw_spread2, _PRIOR_SPREAD2)
    return density_closure(process, _PLACE, further)


def _fit(process: ObjectiveGP) -> None:
    """The scales of the largest posterior density from one start."""
    kernel = process.covar_module.mixed
    middle, _ = kernel.prior.ell
    start = middle + 0.5 * math.log(kernel.ard_num_dims)
    kernel.initialize(raw_lengthscale=torch.full_like(kernel.raw_lengthscale, start))
    noise = process.likelihood.noise_covar
    noise.initialize(raw_noise=torch.full_like(noise.raw_noise, math.log(1e-2)))
    spread2 = {"model.covar_module.raw_spread2": process.covar_module.raw_spread2}
    parameters = {**searched(process, _PLACE), **spread2}
    closure = step_closure(process)
    process.train()
    try:
        fit_gpytorch_mll(
            ExactMarginalLogLikelihood(process.likelihood, process),
            closure=closure,
            optimizer_kwargs={"parameters": parameters, "options": {"maxiter": _STEPS}},
            max_attempts=1,
            warning_handler=lambda warning: True,  # an end after so many steps is an end
        )
        closure()  # sets the mean
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

    def foretold(self, curves: Sequence[Curve]) -> list[Foretold]:
        """The final values of trials that have reached a rung and not their end.

        Raises:
            FitError: a step on the way of one could not be fitted.
        """
        columns = [self._of_objective(curves, column) for column in range(self._objectives)]
        return [_described(draws) for draws in np.stack(columns, axis=-1)]

    def _of_objective(self, curves: Sequence[Curve], column: int) -> Array:
        """Draws of one final value of each: k x S; those at the same rung take the step together."""
        places = np.array([self._shares.index(curve.shares[-1]) for curve in curves])
        points = np.array([curve.point for curve in curves])
        values = np.repeat([[curve.rungs[-1][1][column]] for curve in curves], DRAWS, axis=1)
        normals = _normals(len(self._shares), self._objectives)
        for at in range(places.min(), len(self._shares) - 1):
            there = places <= at
            mean, variance = self._step(at, column).next(points[there], values[there])
            values[there] = mean + np.sqrt(variance) * normals[:, at * self._objectives + column]
        return values

    def _step(self, at: int, column: int) -> Step:
        """The step of one objective from the rung of this number."""
        share, following = self._shares[at : at + 2]
        seen = tuple(known[0][column] for curve in self._curves if (known := curve.at(share)))
        made = tuple(
            (curve.point, before[0][column], after[0][column])
            for curve in self._curves
            if (before := curve.at(share)) and (after := curve.at(following))
        )
        return _fitted(made, seen, self._choices)


def _described(draws: Array) -> Foretold:
    """Of draws (S x m)."""
    low, high = np.quantile(draws, (0.05, 0.95), axis=0)
    described = (draws.mean(0), draws.std(0), low, high)
    return Foretold(draws, *(tuple(each.tolist()) for each in described))


@lru_cache(_REMEMBERED)
def _normals(rungs: int, objectives: int) -> Array:
    """Quasi-random standard normal draws, one column a step and objective; the same for every trial."""
    points = qmc.Sobol(rungs * objectives, scramble=True, rng=np.random.default_rng(0)).random(DRAWS)
    draws: Array = norm.ppf(points.clip(1e-6, 1 - 1e-6))
    return draws


@lru_cache(_REMEMBERED)
def _fitted(
    made: tuple[tuple[Point, float, float], ...], seen: tuple[float, ...], choices: tuple[int, ...]
) -> Step:
    """A step, of (point, value, next value); remembered, as what a trial measures changes few of them."""
    worst = _worst(np.array(seen))
    X = np.array([point for point, _, _ in made])
    z, y = (np.minimum([row[side] for row in made], worst) for side in (1, 2))
    return fit_step(X, z, y, np.minimum(seen, worst), choices)


def _worst(values: Array) -> float:
    """The largest value that is no outlier."""
    floor = outlier_floor(-values)
    return math.inf if floor is None else -floor
