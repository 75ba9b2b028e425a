"""The surrogate of a study: a Gaussian process per objective, in units in which more is better.

Per objective: repeated points are pooled, positive skewed values are modelled by their logarithm where the
data speak for it, then centred and scaled. Known standard errors become noise variances; what they do not
explain is learned (`hpo.gp`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hpo.gp import Array, Data, FitError, Hyperparameters, fit
from hpo.history import History
from hpo.objectives import Objective
from hpo.space import Choice, Point, SearchSpace

# By how much the logarithm's evidence (nats) must be larger before it is used. It is not taken lightly: the
# hypervolume is then one of logarithms, which on DTLZ2 cost half of what was reached without it.
_EVIDENCE = 6.0
_FEWEST_FOR_LOG = 4
_NEAR, _FAR = 0.1, 1.0  # margins of the two reference points
_MOST_FITTED = 250  # rows that hyperparameters are fitted to; all rows are conditioned on


@dataclass(frozen=True)
class Transform:
    """From an objective's own unit to the model's: maximised, centred at 0, spread about 1.

    Args:
        sign: -1 for an objective to minimise, 1 for one to maximise.
        log: whether the logarithm is modelled.
        centre: subtracted after sign and logarithm.
        scale: divided by at last.
    """

    sign: int
    log: bool
    centre: float
    scale: float

    def __call__(self, values: Array) -> Array:
        """Values in the objective's own unit, in the model's."""
        return (self.sign * (np.log(values) if self.log else values) - self.centre) / self.scale

    def error(self, values: Array, errors: Array) -> Array:
        """Standard errors in the model's unit; to first order where the logarithm is modelled."""
        return errors / (np.abs(values) if self.log else 1.0) / self.scale


@dataclass(frozen=True)
class Surrogate:
    """What is believed of the objectives.

    Args:
        data: what each process was fitted to.
        processes: m sets of hyperparameters.
        transforms: m transforms.
        reference: m coordinates of the reference point, in the model's units (maximised).
        far_reference: a reference point much further out, for which the ends of the front count for more.
    """

    data: tuple[Data, ...]
    processes: tuple[Hyperparameters, ...]
    transforms: tuple[Transform, ...]
    reference: Array
    far_reference: Array

    @property
    def note(self) -> str:
        """What is worth recording about the fit."""
        logs = [str(index + 1) for index, own in enumerate(self.transforms) if own.log]
        return f"logarithm of objective {', '.join(logs)}" if logs else ""


def log_is_possible(values: Array, objective: Objective) -> bool:
    """Whether an objective's values, and its threshold, have logarithms worth trying."""
    positive = bool((values > 0).all()) and (objective.threshold is None or objective.threshold > 0)
    return positive and len(values) >= _FEWEST_FOR_LOG and skewness(values) > 1.0


def skewness(values: Array) -> float:
    """The third standardised moment; 0 for values that are all equal."""
    spread = float(values.std())
    centred = values - values.mean()
    return float((centred**3).mean()) / spread**3 if spread > 1e-12 * float(np.abs(values).max()) else 0.0


def make_transform(values: Array, objective: Objective, *, log: bool) -> Transform:
    """The transform that centres and scales values.

    Args:
        values: n finite values in the objective's own unit, n at least 1.
        objective: its direction.
        log: whether to take logarithms first.
    """
    sign = -objective.direction.sign
    seen = sign * (np.log(values) if log else values)
    spread = float(seen.std())
    # a spread of rounding errors is none
    scale = spread if spread > 1e-12 * max(1e-300, float(np.abs(seen).max())) else 1.0
    return Transform(sign, log, float(seen.mean()), scale)


def pooled(points: list[Point], Y: Array, E: Array) -> tuple[Array, Array, Array, Array]:
    """Measurements of the same point as one row.

    Args:
        points: N points.
        Y: N values.
        E: N standard errors, NaN where not known.

    Returns:
        X n x d, y n, noise variances n (0 where unknown), counts n. Known errors weigh the mean by their
        precision; a group with an unknown one is averaged plainly.
    """
    groups: dict[Point, list[int]] = {}
    for index, point in enumerate(points):
        groups.setdefault(point, []).append(index)
    rows = [_pool(Y[own], E[own]) for own in groups.values()]
    y, noise, counts = (np.array(column) for column in zip(*rows, strict=True))
    return np.array(list(groups), dtype=np.float64), y, noise, counts


def _pool(values: Array, errors: Array) -> tuple[float, float, float]:
    count = float(len(values))
    if np.isnan(errors).any() or (errors == 0).any():
        known = np.where(np.isnan(errors), 0.0, errors)
        return float(values.mean()), float((known**2).sum()) / count**2, count
    precision = 1.0 / errors**2
    return float((precision * values).sum() / precision.sum()), float(1.0 / precision.sum()), count


def hamming_flags(space: SearchSpace) -> np.typing.NDArray[np.bool_]:
    """d flags: which dimensions are unordered choices."""
    flags = [isinstance(own, Choice) and not own.ordered for own in space.dimensions.values()]
    return np.array(flags, dtype=bool)


def fit_surrogate(history: History) -> Surrogate:
    """Fit one process per objective.

    Args:
        history: with at least one observation and one dimension.

    Raises:
        FitError: a process could not be fitted.
    """
    points = [own.point for own in history.observations]
    minimised = np.array([own.values for own in history.observations])
    errors = np.array([own.errors for own in history.observations])
    hamming = hamming_flags(history.space)
    data, processes, transforms = [], [], []
    for column, objective in enumerate(history.objectives.values()):
        values = objective.direction.sign * minimised[:, column]
        rows, process, transform = _fit_one(points, values, errors[:, column], objective, hamming)
        data.append(rows)
        processes.append(process)
        transforms.append(transform)
    Y = np.column_stack([own.y for own in data])
    near, far = (reference_point(Y, history, transforms, margin) for margin in (_NEAR, _FAR))
    return Surrogate(tuple(data), tuple(processes), tuple(transforms), near, far)


def _sample(rows: Data) -> Data:
    """At most `_MOST_FITTED` rows, the same ones at every call: enough for the hyperparameters."""
    if len(rows.y) <= _MOST_FITTED:
        return rows
    keep = np.sort(np.random.default_rng(0).permutation(len(rows.y))[:_MOST_FITTED])
    return Data(rows.X[keep], rows.y[keep], rows.noise[keep], rows.counts[keep], rows.hamming)


def _fit_one(
    points: list[Point],
    values: Array,
    errors: Array,
    objective: Objective,
    hamming: np.typing.NDArray[np.bool_],
) -> tuple[Data, Hyperparameters, Transform]:
    """The better of the models with and without a logarithm; without one unless the evidence is clear."""
    best, best_evidence = None, -math.inf
    for log in (False, True) if log_is_possible(values, objective) else (False,):
        transform = make_transform(values, objective, log=log)
        known = transform.error(values, errors)
        rows = Data(*pooled(points, transform(values), known), hamming)
        sample = _sample(rows)
        process, density = fit(sample)
        # densities of the values in the objective's own unit: the transform's Jacobian belongs to them
        evidence = density - len(sample.y) * math.log(transform.scale)
        if log:
            logarithms = transform.sign * (sample.y * transform.scale + transform.centre)
            evidence -= float(logarithms.sum()) + _EVIDENCE
        if evidence > best_evidence:
            best, best_evidence = (rows, process, transform), evidence
    if best is None:
        raise FitError("the evidence of the model is not finite")
    return best


def reference_point(Y: Array, history: History, transforms: list[Transform], margin: float) -> Array:
    """Where the hypervolume is measured from, in the model's units (maximised).

    A threshold where an objective has one, else below the worst value on the observed front by `margin` of
    the range, the larger of the front's and half of all observations'.

    Args:
        Y: n x m values, n at least 1.
        history: for the objectives.
        transforms: of the objectives.
        margin: share of the range, above 0.
    """
    from hpo.pareto import front

    best = Y[front((-Y).tolist())]
    nadir, span = best.min(0), best.max(0) - best.min(0)
    span = np.maximum(span, 0.5 * (Y.max(0) - Y.min(0)))
    span[span == 0] = 1.0
    reference = nadir - margin * span
    for column, objective in enumerate(history.objectives.values()):
        if objective.threshold is not None:
            reference[column] = float(transforms[column](np.array(objective.threshold)))
    return np.asarray(reference)
