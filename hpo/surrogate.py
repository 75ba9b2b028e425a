"""Gaussian processes over the unit cube, one per objective. float64, everything maximised inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models.gp_regression import SingleTaskGP
from botorch.models.model_list_gp_regression import ModelListGP
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import GammaPrior
from torch import Tensor

from hpo.history import History


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: small Choleskys on contended cores are a thousand times slower with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Surrogate:
    """A fitted model of all objectives.

    Args:
        model: a botorch model with m outputs, in transformed units, maximised.
        X: n x d observed points.
        Y: n x m observed values in the model's units.
    """

    model: ModelListGP
    X: Tensor
    Y: Tensor


def fit_surrogate(history: History) -> Surrogate:
    """Fit one Gaussian process per objective to the observations."""
    X = torch.tensor([own.point for own in history.observations], dtype=torch.float64)
    Y = -torch.tensor([own.values for own in history.observations], dtype=torch.float64)
    Y = (Y - Y.mean(0)) / Y.std(0).clamp_min(1e-12)
    models = []
    for output in range(Y.shape[-1]):
        kernel = ScaleKernel(
            MaternKernel(nu=2.5, ard_num_dims=X.shape[-1], lengthscale_prior=GammaPrior(3.0, 6.0)),
            outputscale_prior=GammaPrior(2.0, 0.15),
        )
        model = SingleTaskGP(X, Y[:, output : output + 1], covar_module=kernel, outcome_transform=None)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        models.append(model)
    return Surrogate(ModelListGP(*models), X, Y)
