"""The posterior of an objective, and how draws at points that are there extend it.

float64. Posteriors speak the model's unit; draws are in the objective's own, scaled
(`hpo.models.transforms`). What is handed to the functions of BoTorch is `ObjectiveGP.posterior`; here the
factor of the covariance is kept and extended, and points are asked for one by one, not jointly.

    B       b x d   points that are there: observed ones that may be on the front, pending and chosen ones
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from linear_operator.utils.cholesky import psd_safe_cholesky
from torch import Tensor

from hpo.models.gp import ObjectiveGP

_NUGGET = 1e-6  # of the signal variance, on the draws' rows: they are exact, but rows may repeat
_LEAST_VARIANCE = 1e-10


class Posterior:
    """The posterior of one objective, extended by draws at points that are there.

    Args:
        process: fitted.
    """

    def __init__(self, process: ObjectiveGP) -> None:
        self._kernel: Callable[..., Tensor] = process.covar_module.forward
        self._sigma2 = float(process.covar_module.outputscale)
        self._mean = float(process.mean_module.constant)
        self._Z = process.rows
        self._noise = process.likelihood.rows
        self._targets = (process.train_targets - self._mean).unsqueeze(-1)
        self._factorise()

    def _factorise(self) -> None:
        K = self._kernel(self._Z, self._Z) + torch.diag(self._noise)
        self._L = psd_safe_cholesky(K)
        self._alpha = torch.cholesky_solve(self._targets, self._L)  # rows x S

    def _padded(self, X: Tensor) -> Tensor:
        """X (k x d) with the coordinate of this study, 0, where earlier ones are in the process."""
        return torch.nn.functional.pad(X, (0, self._Z.shape[-1] - X.shape[-1]))

    def mean(self, X: Tensor) -> Tensor:
        """Means (k x S, or k x 1 before any draw) at X (k x d)."""
        return self._mean + self._kernel(self._padded(X), self._Z) @ self._alpha

    def posterior(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Means (k x S, or k x 1 before any draw) and standard deviations (k) at X (k x d)."""
        X = self._padded(X)
        k = self._kernel(X, self._Z)
        mean = self._mean + k @ self._alpha
        explained = torch.linalg.solve_triangular(self._L, k.transpose(-1, -2), upper=False)
        variance = self._kernel(X, X, diag=True) - explained.square().sum(-2)
        return mean, variance.clamp_min(_LEAST_VARIANCE).sqrt()

    def joint(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (k x S or k x 1) and a root R of the covariance (k x k), R R^T, at X (k x d)."""
        X = self._padded(X)
        k = self._kernel(X, self._Z)
        explained = torch.linalg.solve_triangular(self._L, k.transpose(-1, -2), upper=False)
        covariance = self._kernel(X, X) - explained.transpose(-1, -2) @ explained
        values, vectors = torch.linalg.eigh(covariance)
        return self._mean + k @ self._alpha, vectors * values.clamp_min(0).sqrt()

    def extend(self, X: Tensor, draws: Tensor) -> None:
        """Go on from draws (k x S) at X (k x d) as if they were exact measurements."""
        targets = self._targets.expand(-1, draws.shape[-1])
        self._Z = torch.cat([self._Z, self._padded(X)])
        self._targets = torch.cat([targets, draws - self._mean])
        self._noise = torch.cat([self._noise, torch.full((len(X),), _NUGGET * self._sigma2).to(X)])
        self._factorise()
