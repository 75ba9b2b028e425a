"""How well the models of a study foretell what they have not seen: leave-one-out checks, per objective.

Whoever wants to know whether to believe the proposals looks here: the intervals should hold what they
promise, and the predictions should explain most of the variance. Numbers are in the objectives' own units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from botorch.cross_validation import efficient_loo_cv
from botorch.posteriors import GPyTorchPosterior

from hpo.errors import FitError
from hpo.models.distances import Array
from hpo.models.feasibility import fit_feasibility
from hpo.models.feasibility_prior import PointPrior
from hpo.models.gp import ObjectiveGP
from hpo.models.guard import guarded
from hpo.models.history import History
from hpo.models.surrogate import fit_surrogate
from hpo.models.transforms import ObjectiveTransform
from hpo.objectives import Objective

_Z = 1.959964  # half of the central 95% of a standard normal
_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Diagnostics:
    """What the model of one objective says of n configurations, each left out; its hyperparameters saw all.

    Args:
        points: n x d configurations on the unit cube; one measured more than once is one row, left out whole.
        observed: n values, the mean of a configuration's measurements.
        predicted: n predictions; the median where a logarithm is modelled.
        deviations: n standard deviations, measurement noise included; of a logarithm that of a normal whose
            95% interval is as wide.
        lower: n lower ends of the 95% intervals.
        upper: n upper ends.
        coverage: share of the observed values within their intervals, about 0.95 where these can be believed.
        q2: 1 - squared error / variance, both where the model lives (of logarithms where these are modelled);
            1 is perfect, 0 no better than the mean; NaN where all values are equal.
        kernel: `matern` or `squared_exponential`.
        log: whether the logarithm is modelled.
        length_scales: parameter -> length scale on the unit cube; a long one hardly matters.
        noise: learned standard deviation of one measurement beside its known error; of a logarithm at the
            median of the observed values.
    """

    points: Array
    observed: Array
    predicted: Array
    deviations: Array
    lower: Array
    upper: Array
    coverage: float
    q2: float
    kernel: str
    log: bool
    length_scales: Mapping[str, float]
    noise: float


@dataclass(frozen=True)
class Bin:
    """Configurations of a similar predicted probability of working.

    Args:
        low: lower end of the bin, which belongs to it.
        high: upper end; 1 belongs to the last one.
        count: how many configurations.
        predicted: their mean predicted probability.
        worked: the share that did work.
    """

    low: float
    high: float
    count: int
    predicted: float
    worked: float


def diagnose(history: History) -> dict[str, Diagnostics]:
    """Leave every configuration out once, for each objective.

    Args:
        history: results of at least two configurations, at least one dimension.

    Raises:
        FitError: fewer than two configurations, or no surrogate could be fitted.
    """
    if len({each.point for each in history.observations}) < 2 or not len(history.space):
        raise FitError("diagnostics need the results of at least two different configurations")
    names = list(history.space.dimensions)
    with guarded():
        pairs = zip(fit_surrogate(history).processes.values(), history.objectives.values(), strict=True)
        diagnostics = [_diagnostics(process, objective, names) for process, objective in pairs]
    return dict(zip(history.objectives, diagnostics, strict=True))


def _diagnostics(process: ObjectiveGP, objective: Objective, names: list[str]) -> Diagnostics:
    d, transform = len(names), process.transform
    X = process.rows.numpy()
    here = (X[:, d:] == 0).all(1)  # rows of earlier studies have a further coordinate, which is not 0
    left_out = cast(GPyTorchPosterior, efficient_loo_cv(process, untransform=False).posterior)
    mean = left_out.mean.flatten().numpy()[here]
    deviation = left_out.variance.sqrt().flatten().numpy()[here]
    y = process.train_targets.numpy()[here]
    ends = np.stack([in_own_unit(transform, objective, mean + z * deviation) for z in (-_Z, _Z)])
    lower, upper = ends.min(0), ends.max(0)
    observed = in_own_unit(transform, objective, y)
    variance = float(y.var())
    unit = transform.scale * (float(np.median(np.abs(observed))) if transform.log else 1.0)
    ell = process.covar_module.lengthscale.flatten().tolist()
    return Diagnostics(
        points=X[here][:, :d],
        observed=observed,
        predicted=in_own_unit(transform, objective, mean),
        deviations=(upper - lower) / (2 * _Z),
        lower=lower,
        upper=upper,
        coverage=float((np.abs(y - mean) <= _Z * deviation).mean()),
        q2=1.0 - float(((y - mean) ** 2).mean()) / variance if variance > 1e-24 else math.nan,
        kernel=process.covar_module.form.value,
        log=transform.log,
        length_scales=dict(zip(names, ell, strict=False)),
        noise=math.sqrt(float(process.likelihood.noise)) * unit,
    )


def in_own_unit(transform: ObjectiveTransform, objective: Objective, y: Array) -> Array:
    """Values of the model (n) in the objective's own unit (n)."""
    turned: Array = transform.untransform(torch.from_numpy(y))[0].numpy()
    return -objective.direction.sign * turned


def calibration(history: History, prior: PointPrior | None = None) -> tuple[Bin, ...]:
    """Predicted probabilities of working beside the shares that did work, every configuration left out once.

    The length scales did see it, and leaving out follows Laplace's approximation.

    Args:
        history: what is known.
        prior: as for `hpo.models.feasibility.fit_feasibility`.

    Returns:
        The bins of a fifth that are not empty, the lowest first; none where nothing failed and there is no
        prior.
    """
    with guarded():
        fitted = fit_feasibility(history, prior)
        if fitted is None or not len(fitted.X):
            return ()
        probability, worked = fitted.leave_one_out(), fitted.signs > 0
    number = np.clip(np.searchsorted(_BINS, probability, side="right") - 1, 0, len(_BINS) - 2)
    return tuple(_bin(at, probability[number == at], worked[number == at]) for at in np.unique(number))


def _bin(at: int, probability: Array, worked: np.typing.NDArray[np.bool_]) -> Bin:
    return Bin(_BINS[at], _BINS[at + 1], len(worked), float(probability.mean()), float(worked.mean()))
