"""Acquisition functions and the search for their maximum."""

from __future__ import annotations

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.optim.optimize import optimize_acqf
from botorch.sampling.normal import SobolQMCNormalSampler

from hpo.history import History
from hpo.space import Point
from hpo.surrogate import Surrogate


def propose_points(surrogate: Surrogate, history: History, count: int) -> list[Point]:
    """The points of the largest expected improvement, one after another."""
    sampler = SobolQMCNormalSampler(torch.Size([64]), seed=history.derived_seed("samples"))
    pending = torch.tensor(history.pending, dtype=torch.float64) if history.pending else None
    acquisition: AcquisitionFunction
    if surrogate.Y.shape[-1] == 1:
        acquisition = qLogNoisyExpectedImprovement(
            surrogate.model, X_baseline=surrogate.X, sampler=sampler, X_pending=pending, prune_baseline=True
        )
    else:
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            surrogate.model,
            ref_point=(surrogate.Y.amin(0) - 0.1).tolist(),
            X_baseline=surrogate.X,
            sampler=sampler,
            X_pending=pending,
            prune_baseline=True,
        )
    d = surrogate.X.shape[-1]
    bounds = torch.tensor([[0.0] * d, [1.0] * d], dtype=torch.float64)
    torch.manual_seed(history.derived_seed("starts"))
    found, _ = optimize_acqf(
        acquisition,
        bounds,
        q=count,
        num_restarts=4,
        raw_samples=128,
        sequential=True,
        options={"maxiter": 50},
    )
    return [tuple(row) for row in found.tolist()]
