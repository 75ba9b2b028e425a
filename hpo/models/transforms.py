"""From an objective's own unit to that of its model, and back to one in which gains are measured.

An objective is modelled as it is or by its logarithm. What a trial gains is measured in the objective's own
unit in both cases, scaled alone: a hypervolume of logarithms would pay for ever smaller values without end.

    f   the objective's own unit          y   the model's unit, maximised, centred, spread about 1
    u   the gain's unit: f maximised, centred and scaled, never a logarithm
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from botorch.acquisition.analytic import _log_ei_helper
from torch import Tensor

from hpo.models.gp import Array
from hpo.objectives import Objective

# three-point Gauss-Legendre on [0, 1]: (node, weight)
_NODES = ((0.5 - math.sqrt(0.15), 5 / 18), (0.5, 8 / 18), (0.5 + math.sqrt(0.15), 5 / 18))
_IMPOSSIBLE = -1e3  # the logarithm of a gain that cannot be
_FEWEST_FOR_LOG = 4
_SKEWED = 1.0  # from this skewness on a logarithm is tried
_FLOOR = 1e-3  # of the median: a value below it would be an outlier among the logarithms


@dataclass(frozen=True)
class Transform:
    """The units of one objective.

    Args:
        sign: -1 where less of what is modelled is better, 1 where more is.
        log: whether the logarithm is modelled, of the magnitude: all values have one sign.
        centre: subtracted after sign and logarithm.
        scale: divided by at last.
        level: subtracted from the maximised value for the gain's unit.
        unit: divided by for the gain's unit.
    """

    sign: int
    log: bool
    centre: float
    scale: float
    level: float
    unit: float

    def __call__(self, values: Array) -> Array:
        """f to y."""
        return (self.sign * (np.log(np.abs(values)) if self.log else values) - self.centre) / self.scale

    def error(self, values: Array, errors: Array) -> Array:
        """Standard errors of f in y's unit; to first order where a logarithm is taken."""
        with np.errstate(over="ignore"):  # of a tiny scale infinite, and clipped where it is used
            scaled: Array = errors / (np.abs(values) if self.log else 1.0) / self.scale
        return scaled

    def gained(self, values: Array) -> Array:
        """f to u."""
        return (self.sign * (np.abs(values) if self.log else values) - self.level) / self.unit

    def to_gain(self, y: Tensor) -> Tensor:
        """y to u."""
        if not self.log:
            return (y * self.scale + self.centre - self.level) / self.unit
        value = torch.exp(self.sign * (y * self.scale + self.centre))
        return (self.sign * value - self.level) / self.unit

    def log_excess(self, mean: Tensor, deviation: Tensor, bound: Tensor) -> Tensor:
        """log E[(u - bound)+] for normal y of this mean and deviation; all broadcast."""
        if not self.log:
            mean = (mean * self.scale + self.centre - self.level) / self.unit
            deviation = deviation * self.scale / self.unit
            return deviation.log() + _log_ei_helper((mean - bound) / deviation)
        mean = self.sign * (mean * self.scale + self.centre)  # of w = log f
        deviation = deviation * self.scale
        strike = self.sign * (bound * self.unit + self.level)
        excess = _log_put if self.sign < 0 else _log_call
        return excess(mean, deviation, strike) - math.log(self.unit)


def make_transform(values: Array, objective: Objective, *, log: bool) -> Transform:
    """The transform that centres and scales values.

    Args:
        values: n finite values in the objective's own unit, n at least 1; of one sign where `log`.
        log: whether to take logarithms first.
    """
    sign = -objective.direction.sign
    if log:
        sign, values = (sign if values[0] > 0 else -sign), np.abs(values)
    centre, scale = _centre_and_scale(sign * (np.log(values) if log else values))
    level, unit = _centre_and_scale(sign * values)
    return Transform(sign, log, centre, scale, level, unit)


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


def log_is_possible(values: Array, objective: Objective) -> bool:
    """Whether an objective's values, and its threshold, have one sign and logarithms worth trying."""
    seen = values if objective.threshold is None else np.append(values, objective.threshold)
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
