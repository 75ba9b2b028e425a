"""Measuring front points again, with other seeds, where noise decides what the front is."""

from __future__ import annotations

import numpy as np
import torch

from hpo.models.guard import guarded
from hpo.models.history import History, Origin, Proposal
from hpo.models.posterior import Posterior
from hpo.models.surrogate import fit_surrogate
from hpo.pareto import front

_EVERY = 4  # one trial in four at most is a replicate
_DECIDES = 0.02  # of the front's range: a posterior standard deviation above it is worth a trial
_LEARNED = 1e-4  # of a learned noise variance, ten times the prior's median: less is no evidence of noise


def replicates(history: History, count: int, most: int) -> list[Proposal]:
    """Configurations of the front that are to be measured again among the next `count` trials.

    Args:
        history: at least two observations, at least one dimension.
        count: how many proposals are wanted in all.
        most: measurements that one configuration may get; 1 for never a second.

    Returns:
        The least certain of the believed front first; often none.

    Raises:
        FitError: no surrogate could be fitted.
    """
    slots = sum((history.asked + offset) % _EVERY == _EVERY - 1 for offset in range(count))
    if most < 2 or not slots:
        return []
    with guarded():
        return _uncertain(history, most)[:slots]


def _uncertain(history: History, most: int) -> list[Proposal]:
    """Every configuration of the believed front that noise leaves undecided, the least certain first."""
    surrogate = fit_surrogate(history)
    pairs = zip(surrogate.data, surrogate.processes, strict=True)
    if not any(rows.noise.any() or process.tau2 > _LEARNED for rows, process in pairs):
        return []
    X = surrogate.X
    means, deviations = [], []
    for output, transform in enumerate(surrogate.transforms):
        mean, deviation = Posterior(surrogate, output).posterior(torch.from_numpy(X))
        low, high = (transform.to_gain(mean[:, 0] + sign * deviation) for sign in (-1, 1))
        means.append(transform.to_gain(mean[:, 0]).numpy())
        deviations.append((high - low).numpy() / 2)
    U, S = np.column_stack(means), np.column_stack(deviations)
    best = front((-U).tolist())
    span = np.ptp(U[best], axis=0) if len(best) > 1 else np.ptp(U, axis=0)
    unsure = (S / np.where(span > 0, span, 1.0)).max(1)
    measured = [*(own.point for own in history.observations), *history.pending]
    found = []
    for index in sorted(best, key=lambda index: -unsure[index]):
        point = tuple(X[index].tolist())
        if unsure[index] > _DECIDES and measured.count(point) < most:
            found.append(Proposal(history.space.from_unit(point), Origin.REPLICATE, "noise decides"))
    return found
