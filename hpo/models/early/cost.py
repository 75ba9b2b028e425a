"""Gains per GPU-second: an acquisition function is divided by what a trial is foretold to cost [Snoek2012].

The logarithm of the GPU-seconds of a full trial has a Gaussian process over the unit cube, fitted as those of
the objectives are. Its posterior mean is subtracted from the logarithm of the gain.

References:
    [Snoek2012] J. Snoek, H. Larochelle, R. P. Adams. Practical Bayesian optimization of machine learning
        algorithms. NeurIPS 2012.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hpo.errors import FitError
from hpo.models.gp import ObjectiveGP
from hpo.models.guard import guarded
from hpo.models.history import History, Observation
from hpo.models.posterior import Posterior
from hpo.models.surrogate import fit_surrogate
from hpo.objectives import Direction, Objective

FEWEST = 4  # known costs that a process is fitted to


class PerGpuSecond(torch.nn.Module):
    """Minus the expected logarithm of the GPU-seconds, from that of their geometric mean.

    Args:
        process: of the logarithm, as one to minimise.
    """

    def __init__(self, process: ObjectiveGP) -> None:
        super().__init__()
        self._transform, self._posterior = process.transform, Posterior(process)

    def forward(self, X: Tensor) -> Tensor:
        """The weight (k) at X (k x d); differentiable in X."""
        weight: Tensor = self._transform.untransform(self._posterior.mean(X)[:, 0])[0]
        return weight


def cost_weight(history: History) -> tuple[PerGpuSecond | None, str]:
    """What the logarithm of a gain gets added so that it is one per GPU-second.

    Args:
        history: at least one dimension.

    Returns:
        The weight; or None where fewer than `FEWEST` costs are known or the fit fails, and a note of it.
    """
    try:
        with guarded():
            return PerGpuSecond(_fitted(history)), ""
    except FitError as error:
        return None, f"gains not divided by GPU-seconds: {error}"


def _fitted(history: History) -> ObjectiveGP:
    """The process of the logarithms; both signs are among them, so that no logarithm of them is tried."""
    costs = history.costs
    if len(costs) < FEWEST:
        raise FitError(f"known of {len(costs)} results, needed {FEWEST}")
    logarithms = np.log([seconds for _, seconds in costs])
    rows = zip(costs, (logarithms - logarithms.mean()).tolist(), strict=True)
    results = tuple(Observation(point, (value,), (math.nan,)) for (point, _), value in rows)
    objective = {"gpu_seconds": Objective(Direction.MIN)}
    [process] = fit_surrogate(
        replace(history, observations=results, objectives=objective, related=())
    ).processes.values()
    return process
