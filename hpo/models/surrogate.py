"""The surrogate of a study: a Gaussian process per objective, in units in which more is better.

Per objective: repeated points are pooled, positive skewed values are modelled by their logarithm where the
data speak for it (`hpo.models.transforms`), then centred and scaled. Of known standard errors a share becomes
noise, as trials measured on the same examples err alike; it is learned, and so is what they do not explain
(`hpo.models.gp`).

Proposals are a function of what was told, so a fit does not begin where an earlier one ended; instead the
last fits are remembered, and asking again with the same results and other pending points fits nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import cast

import numpy as np
import torch
from botorch.cross_validation import efficient_loo_cv
from botorch.posteriors import GPyTorchPosterior

from hpo.errors import FitError
from hpo.models.distances import Array, Flags
from hpo.models.fit import fit_best, give_scales
from hpo.models.gp import Data, ObjectiveGP, pooled
from hpo.models.history import History, Observation
from hpo.models.transfer import ObjectiveFit, joint_fit
from hpo.models.transforms import (
    ObjectiveTransform,
    cliff_floor,
    log_is_possible,
    make_transform,
    outlier_floor,
)
from hpo.objectives import Objective
from hpo.pareto import front
from hpo.space.space import Choice, Point, SearchSpace

_EVIDENCE = 6.0  # by how much the logarithm's evidence (nats) must be larger before it is used
_ERROR_OF_OUTLIERS = 1.0  # in the model's unit: they say that it is bad there, and no more
_MOST_FITTED = 250  # rows that hyperparameters are fitted to
_MOST_ROWS = 1000  # rows that are conditioned on: the better half of these by Pareto rank, the rest at random
_REMEMBERED = 8
_LARGEST = 1e150  # of a value: its square can still be held


@dataclass(frozen=True)
class Surrogate:
    """What is believed of the objectives.

    Args:
        X: n x d, this study's points.
        processes: name -> process; the n rows of this study first.
        joint: the objectives whose process has earlier studies in it.
        gained: n x m observed values in the gains' units.
    """

    X: Array
    processes: Mapping[str, ObjectiveGP]
    joint: tuple[str, ...]
    gained: Array

    @property
    def transforms(self) -> list[ObjectiveTransform]:
        """The objectives' units."""
        return [process.transform for process in self.processes.values()]

    @property
    def note(self) -> str:
        """What is worth recording about the fit."""
        logs = [name for name, process in self.processes.items() if process.transform.log]
        notes = [f"logarithm of {', '.join(logs)}"] if logs else []
        cut = [name for name, process in self.processes.items() if math.isfinite(process.transform.floor)]
        notes += [f"outliers cut off of {', '.join(cut)}"] if cut else []
        notes += [f"earlier studies used for {', '.join(self.joint)}"] if self.joint else []
        return "; ".join(notes)


def hamming_flags(space: SearchSpace) -> Flags:
    """d flags: which dimensions are unordered choices."""
    flags = [isinstance(each, Choice) and not each.ordered for each in space.dimensions.values()]
    return np.array(flags, dtype=bool)


def choices_of(space: SearchSpace) -> tuple[int, ...]:
    """The numbers of the dimensions that are unordered choices."""
    return tuple(np.flatnonzero(hamming_flags(space)).tolist())


def fit_surrogate(history: History) -> Surrogate:
    """Fit one process per objective.

    Args:
        history: with at least one observation and one dimension.

    Raises:
        FitError: a process could not be fitted.
    """
    objectives = tuple(history.objectives.items())
    return _fitted(history.observations, history.related, objectives, choices_of(history.space))


Objectives = tuple[tuple[str, Objective], ...]


@lru_cache(_REMEMBERED)
def _fitted(
    observations: tuple[Observation, ...],
    related: tuple[tuple[Observation, ...], ...],
    objectives: Objectives,
    choices: tuple[int, ...],
) -> Surrogate:
    kept = tuple(observations[index] for index in _kept([each.values for each in observations]))
    alone = fits = _each(kept, objectives, choices)
    if related:
        studies = zip(*(_each(study, objectives, choices) for study in related), strict=True)
        fits = tuple(joint_fit(fit, earlier) for fit, earlier in zip(alone, studies, strict=True))
    points, V = _rows(kept)
    names = [name for name, _ in objectives]
    processes = {name: fit.process for name, fit in zip(names, fits, strict=True)}
    gained = [
        process.transform.gained(values) for process, values in zip(processes.values(), V.T, strict=True)
    ]
    return Surrogate(
        np.array(list(dict.fromkeys(points))),
        processes,
        tuple(name for name, fit, before in zip(names, fits, alone, strict=True) if fit is not before),
        np.column_stack(gained),
    )


def _rows(observations: Sequence[Observation]) -> tuple[list[Point], Array]:
    """The points, and n x m values in the objectives' units, turned so that more is better."""
    values = np.clip([each.values for each in observations], -_LARGEST, _LARGEST)
    return [each.point for each in observations], -values


@lru_cache(_REMEMBERED)
def _each(
    observations: tuple[Observation, ...], objectives: Objectives, choices: tuple[int, ...]
) -> tuple[ObjectiveFit, ...]:
    """Every objective of one study, fitted by itself."""
    points, V = _rows(observations)
    errors = np.array([each.errors for each in observations])
    doubts = np.array([each.doubts or (0.0,) * len(objectives) for each in observations])
    columns = zip(V.T, errors.T, doubts.T, objectives, strict=True)
    return tuple(
        _fit_one(Results(points, values, error, doubt), own, choices)
        for values, error, doubt, (_, own) in columns
    )


def _kept(rows: Sequence[tuple[float, ...]]) -> list[int]:
    """The numbers of at most `_MOST_ROWS` rows, the same ones at every call."""
    if len(rows) <= _MOST_ROWS:
        return list(range(len(rows)))
    best = by_rank(rows, _MOST_ROWS // 2)
    rest = np.setdiff1d(np.arange(len(rows)), best)
    drawn = np.random.default_rng(0).permutation(rest)[: _MOST_ROWS - len(best)]
    return sorted([*best, *drawn.tolist()])


def by_rank(rows: Sequence[tuple[float, ...]], count: int) -> list[int]:
    """The numbers of the first `count` of n rows to minimise by Pareto rank: the front, then the next one."""
    first: list[int] = []
    left = list(range(len(rows)))
    if len(rows[0]) == 1:
        return sorted(left, key=rows.__getitem__)[:count]
    while left and len(first) < count:
        layer = front([rows[index] for index in left])
        first += [left[index] for index in layer]
        gone = set(layer)
        left = [number for index, number in enumerate(left) if index not in gone]
    return first[:count]


@dataclass(frozen=True)
class Results:
    """Of one objective: N points, values turned so that more is better, standard errors and doubts."""

    points: list[Point]
    values: Array
    errors: Array
    doubts: Array


def _fit_one(results: Results, objective: Objective, choices: tuple[int, ...]) -> ObjectiveFit:
    """The process of the values, or with the worst cut off where it then foretells the others better."""
    best = plain = _fit_units(results, objective, choices)
    most = _EVIDENCE
    floors = dict.fromkeys((outlier_floor(results.values), cliff_floor(results.values)))
    for floor in (each for each in floors if each is not None):
        robust = _fit_units(results, objective, choices, floor)
        gain = _foretold(robust.process, floor) - _foretold(plain.process, floor)
        if gain > most:
            best, most = robust, gain
    return best


def _foretold(process: ObjectiveGP, floor: float) -> float:
    """The log density, in the objective's own unit, of the rows above a floor, each left out once."""
    transform = process.transform
    posterior = cast(GPyTorchPosterior, efficient_loo_cv(process, untransform=False).posterior)
    y, mean, variance = process.train_targets, posterior.mean.flatten(), posterior.variance.flatten()
    v = transform.untransform(y)[0]
    slope = transform.scale * (v.abs() if transform.log else torch.ones_like(v))
    density = -0.5 * ((y - mean).square() / variance + variance.log()) - slope.log()
    return float(density[v > floor + 1e-9 * abs(floor)].sum())


def _fit_units(
    results: Results, objective: Objective, choices: tuple[int, ...], floor: float = -math.inf
) -> ObjectiveFit:
    """The better of the models with and without a logarithm; without one unless the evidence is clear."""
    best, best_evidence = None, -math.inf
    outliers, values = results.values < floor, np.maximum(results.values, floor)
    for log in (False, True) if log_is_possible(values, objective) else (False,):
        transform = make_transform(values, log=log, floor=floor)
        y = transform(torch.from_numpy(values))[0].numpy()
        errors, doubts = (_modelled(transform, values, each) for each in (results.errors, results.doubts))
        errors[outliers], doubts[outliers] = 0.0, _ERROR_OF_OUTLIERS
        rows = Data(*pooled(results.points, y, errors, doubts), choices)
        sample = rows.at_most(_MOST_FITTED)
        process, density = fit_best(partial(sample.process, transform=transform))
        # densities of the values in the objective's own unit: the transform's Jacobian belongs to them
        evidence = density - len(sample.y) * math.log(transform.scale)
        if log:
            logarithms = transform.sign * (sample.y * transform.scale + transform.centre)
            evidence -= float(logarithms.sum()) + _EVIDENCE
        if evidence > best_evidence:
            if sample is not rows:
                process = give_scales(rows.process(process.covar_module.form, transform), process)
            best, best_evidence = ObjectiveFit(rows, process, density), evidence
    if best is None:
        raise FitError("the evidence of the model is not finite")
    return best


def _modelled(transform: ObjectiveTransform, values: Array, deviations: Array) -> Array:
    """Deviations in the model's unit."""
    with np.errstate(over="ignore"):  # of a tiny scale infinite, and clipped where it is used
        scaled: Array = deviations / (np.abs(values) if transform.log else 1.0) / transform.scale
    return scaled
