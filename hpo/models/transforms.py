"""From an objective's own unit to that of its model, and back to one in which gains are measured.

An objective is modelled as it is or by its logarithm. What a trial gains is measured in the objective's own
unit in both cases, scaled alone: a hypervolume of logarithms would pay for ever smaller values without end.

    v   the objective's own unit, turned so that more is better: of one to minimise minus its value
    y   the model's unit, centred, spread about 1
    u   the gain's unit: v centred and scaled, never a logarithm
"""

from __future__ import annotations

import math
from copy import copy

import numpy as np
import torch
from botorch.acquisition.analytic import _log_ei_helper
from botorch.models.transforms.outcome import OutcomeTransform
from botorch.posteriors import GPyTorchPosterior, Posterior, TransformedPosterior
from gpytorch.distributions import MultivariateNormal
from torch import Tensor

from hpo.models.distances import Array
from hpo.objectives import Objective

# three-point Gauss-Legendre on [0, 1]: (node, weight)
_NODES = ((0.5 - math.sqrt(0.15), 5 / 18), (0.5, 8 / 18), (0.5 + math.sqrt(0.15), 5 / 18))
_IMPOSSIBLE = -1e3  # the logarithm of a gain that cannot be
_FEWEST_FOR_LOG = 4
_SKEWED = 1.0  # from this skewness on a logarithm is tried
_FAR = 8.0  # robust standard deviations from the median: an outlier
_MOST_OUTLIERS = 0.2
_WIDE = 0.5  # robust standard deviations between two neighbours among the worse results: maybe a cliff
_FEWEST_FOR_OUTLIERS = 8
_FLOOR = 1e-3  # of the median: a value below it would be an outlier among the logarithms


class ObjectiveTransform(OutcomeTransform):
    """The units of one objective; it learns nothing from what is put through it.

    Args:
        log: whether the logarithm is modelled, of the magnitude: all values have one sign.
        sign: that of the values where `log`, else 1.
        centre: subtracted, after the logarithm.
        scale: divided by at last.
        level: subtracted from v for the gain's unit.
        unit: divided by for the gain's unit.
        floor: v below it counts as it: what is so much worse than the rest says no more than that.
    """

    def __init__(
        self,
        *,
        log: bool,
        sign: int,
        centre: float,
        scale: float,
        level: float,
        unit: float,
        floor: float = -math.inf,
    ) -> None:
        super().__init__()
        self.log, self.sign, self.floor = log, sign, floor
        self.centre, self.scale, self.level, self.unit = centre, scale, level, unit

    def rescaled(self, centre: float, scale: float) -> ObjectiveTransform:
        """The same with another centre and scale of the model's unit."""
        twin = copy(self)
        twin.centre, twin.scale = centre, scale
        return twin

    def forward(
        self, Y: Tensor, Yvar: Tensor | None = None, X: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """v to y; variances to first order where a logarithm is taken."""
        Y = Y.clamp_min(self.floor)
        y = ((self.sign * Y.abs().log() if self.log else Y) - self.centre) / self.scale
        if Yvar is None:
            return y, None
        return y, (Yvar.sqrt() / (Y.abs() if self.log else 1.0) / self.scale).square()

    def untransform(
        self, Y: Tensor, Yvar: Tensor | None = None, X: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """y to v; variances to first order where a logarithm is modelled."""
        values = Y * self.scale + self.centre
        if self.log:
            values = self.sign * torch.exp(self.sign * values)
        if Yvar is None:
            return values, None
        return values, Yvar * (self.scale * (values if self.log else 1.0)) ** 2

    @property
    def _is_linear(self) -> bool:
        return not self.log

    def subset_output(self, idcs: list[int]) -> ObjectiveTransform:
        """There is one output."""
        return self

    def untransform_posterior(self, posterior: Posterior, X: Tensor | None = None) -> Posterior:
        """The posterior of v: a normal one, or a log-normal one where a logarithm is modelled."""
        if self.log or not isinstance(posterior, GPyTorchPosterior):
            return TransformedPosterior(posterior, self._values, self._mean, self._variance)
        normal = posterior.distribution
        return GPyTorchPosterior(
            MultivariateNormal(
                normal.mean * self.scale + self.centre, normal.lazy_covariance_matrix * self.scale**2
            )
        )

    def _values(self, y: Tensor) -> Tensor:
        return self.untransform(y)[0]

    def _mean(self, mean: Tensor, variance: Tensor) -> Tensor:
        growth = torch.exp(0.5 * variance * self.scale**2) if self.log else 1.0
        return self._values(mean) * growth

    def _variance(self, mean: Tensor, variance: Tensor) -> Tensor:
        of_log = variance * self.scale**2
        return self._mean(mean, variance).square() * torch.expm1(of_log) if self.log else of_log

    def gained(self, v: Array) -> Array:
        """v to u."""
        return (np.maximum(v, self.floor) - self.level) / self.unit

    def to_gain(self, y: Tensor) -> Tensor:
        """y to u."""
        return (self._values(y) - self.level) / self.unit

    def log_excess(self, mean: Tensor, deviation: Tensor, bound: Tensor) -> Tensor:
        """log E[(u - bound)+] for normal y of this mean and deviation; all broadcast."""
        mean, deviation = mean * self.scale + self.centre, deviation * self.scale
        strike = bound * self.unit + self.level
        if not self.log:
            mean, deviation = (mean - self.level) / self.unit, deviation / self.unit
            return deviation.log() + _log_ei_helper((mean - bound) / deviation)
        # of w = log |v|; of values below 0 less of the magnitude is a gain
        excess = _log_put if self.sign < 0 else _log_call
        return excess(self.sign * mean, deviation, self.sign * strike) - math.log(self.unit)


def make_transform(values: Array, *, log: bool, floor: float = -math.inf) -> ObjectiveTransform:
    """The transform that centres and scales values.

    Args:
        values: n finite v, n at least 1; of one sign where `log`.
        log: whether to take logarithms first.
        floor: see `ObjectiveTransform`.
    """
    values = np.maximum(values, floor)
    sign = -1 if log and values[0] < 0 else 1
    centre, scale = _centre_and_scale(sign * np.log(np.abs(values)) if log else values)
    level, unit = _centre_and_scale(values)
    return ObjectiveTransform(
        log=log, sign=sign, centre=centre, scale=scale, level=level, unit=unit, floor=floor
    )


def _centre_and_scale(values: Array) -> tuple[float, float]:
    return float(values.mean()), _spread(values) or 1.0


def _spread(values: Array) -> float:
    """The standard deviation, of values of any size; one of rounding errors is 0."""
    size = float(np.abs(values).max())
    relative = float((values / size).std()) if size else 0.0
    return relative * size if relative > 1e-12 else 0.0


def skewness(values: Array) -> float:
    """The third standardised moment; 0 for values that are all equal."""
    spread = _spread(values)
    return float((((values - values.mean()) / spread) ** 3).mean()) if spread else 0.0


def outlier_floor(values: Array) -> float | None:
    """The least v that is no outlier, where a few values are far worse than all others; else None.

    Far is `_FAR` times the median absolute deviation, as it stands for a normal's standard deviation; few are
    at most a fifth. What is far better than the rest may be what is searched for.
    """
    middle = float(np.median(values))
    far = middle - _FAR * 1.4826 * float(np.median(np.abs(values - middle)))
    outliers = values < far
    if not 0 < outliers.sum() <= _MOST_OUTLIERS * len(values) or len(values) < _FEWEST_FOR_OUTLIERS:
        return None
    return float(values[~outliers].min())


def cliff_floor(values: Array) -> float | None:
    """The least v on this side of the widest gap of the worse half, if the gap is wide; else None.

    Where all is lost beyond a learning rate, up to half of the results lie down there. Wide is `_WIDE`
    times a robust deviation. It saves fits: whether there is a cliff is for the evidence to say.
    """
    worse = np.sort(values)[: len(values) // 2 + 1]
    if len(values) < _FEWEST_FOR_OUTLIERS:
        return None
    gaps = np.diff(worse)
    widest = int(gaps.argmax())
    deviation = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return float(worse[widest + 1]) if gaps[widest] > _WIDE * deviation else None


def log_is_possible(values: Array, objective: Objective) -> bool:
    """Whether an objective's v, and its threshold, have one sign and logarithms worth trying."""
    seen = (
        values
        if objective.threshold is None
        else np.append(values, -objective.minimised(objective.threshold))
    )
    sizes = np.abs(values)
    one_sign = bool((seen > 0).all() or (seen < 0).all()) and bool((sizes > _FLOOR * np.median(sizes)).all())
    return one_sign and len(values) >= _FEWEST_FOR_LOG and skewness(sizes) > _SKEWED


def _log_put(mean: Tensor, deviation: Tensor, strike: Tensor) -> Tensor:
    """log E[(strike - exp(w))+] for normal w: strike phi(a) (R(a) - R(a - s)) with R = Phi / phi."""
    possible = strike > 0
    log_strike = torch.where(possible, strike, 1.0).log()
    a = (log_strike - mean) / deviation
    value = log_strike + _log_rise(a - deviation, deviation, a)
    return torch.where(possible, value, _IMPOSSIBLE)


def _log_call(mean: Tensor, deviation: Tensor, strike: Tensor) -> Tensor:
    """log E[(exp(w) - strike)+] for normal w: strike phi(b) (R(b + s) - R(b)); below 0 all of it counts."""
    positive = strike > 0
    log_strike = torch.where(positive, strike, 1.0).log()
    b = (mean - log_strike) / deviation
    value = log_strike + _log_rise(b, deviation, b)
    whole = (torch.exp(mean + 0.5 * deviation**2) - strike).clamp_min(1e-300).log()
    return torch.where(positive, value, whole)


def _log_rise(low: Tensor, width: Tensor, at: Tensor) -> Tensor:
    """log of phi(at) (R(low + width) - R(low)), R = Phi / phi.

    R' is (phi + t Phi) / phi, whose logarithm is known without loss; its integral by Gauss-Legendre is no
    difference of numbers that are nearly equal.
    """
    terms = []
    for node, weight in _NODES:
        t = low + node * width
        terms.append(_log_ei_helper(t) + 0.5 * (t - at) * (t + at) + math.log(weight))
    return width.log() + torch.logsumexp(torch.stack(terms), 0)
