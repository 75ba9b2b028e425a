"""The posterior of an objective, and joint draws at points that are there, extended point by point.

float64. Posteriors speak the model's unit; draws are in the objective's own, scaled
(`hpo.models.transforms`).

    B       b x d   points that are there: observed ones that may be on the front, pending and chosen ones
    F       S x b x m   joint draws at B
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hpo.models.gp import Kernel
from hpo.models.surrogate import Surrogate

_SQRT5 = math.sqrt(5.0)
_NUGGET = 1e-6  # of the signal variance, on the draws' rows: they are exact, but rows may repeat
_LEAST_VARIANCE = 1e-10


class Posterior:
    """The posterior of one objective, extended by draws at points that are there.

    Args:
        surrogate: fitted.
        output: which objective.
    """

    def __init__(self, surrogate: Surrogate, output: int) -> None:
        data, fitted = surrogate.data[output], surrogate.processes[output]
        self._hamming = torch.from_numpy(data.hamming)
        self._ell = torch.from_numpy(fitted.ell)
        self._sigma2 = fitted.sigma2
        self._shape = fitted.kernel
        self._mean = fitted.mean
        self._Z = torch.from_numpy(data.X)
        self._noise = torch.from_numpy(data.noise + fitted.tau2 / data.counts + 1e-8 * fitted.sigma2)
        self._targets = torch.from_numpy(data.y - fitted.mean).unsqueeze(-1)
        self._factorise()

    def _factorise(self) -> None:
        K = self._kernel(self._Z, self._Z) + torch.diag(self._noise)
        self._L = torch.linalg.cholesky(K)
        self._alpha = torch.cholesky_solve(self._targets, self._L)  # rows x S

    def _padded(self, X: Tensor) -> Tensor:
        """X (k x d) with the coordinate of this study, 0, where earlier ones are in the process."""
        return torch.nn.functional.pad(X, (0, self._Z.shape[-1] - X.shape[-1]))

    def _kernel(self, A: Tensor, B: Tensor) -> Tensor:
        return self._sigma2 * torch_covariance(A, B, self._ell, self._hamming, self._shape)

    def mean(self, X: Tensor) -> Tensor:
        """Means (k x S, or k x 1 before any draw) at X (k x d)."""
        return self._mean + self._kernel(self._padded(X), self._Z) @ self._alpha

    def posterior(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Means (k x S, or k x 1 before any draw) and standard deviations (k) at X (k x d)."""
        X = self._padded(X)
        k = self._kernel(X, self._Z)
        mean = self._mean + k @ self._alpha
        explained = torch.linalg.solve_triangular(self._L, k.transpose(-1, -2), upper=False)
        variance = self._sigma2 - explained.square().sum(-2)
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


def torch_covariance(A: Tensor, B: Tensor, ell: Tensor, hamming: Tensor, kernel: Kernel) -> Tensor:
    """The kernel between A (k x d) and B (n x d), signal variance 1."""
    difference = A.unsqueeze(-2) - B.unsqueeze(-3)
    D = torch.where(hamming, (difference != 0).to(A), difference**2)
    squared = (D / ell**2).sum(-1)
    if kernel is Kernel.SQUARED_EXPONENTIAL:
        return torch.exp(-0.5 * squared)
    r = (squared + 1e-30).sqrt()
    return (1 + _SQRT5 * r + 5 / 3 * r**2) * torch.exp(-_SQRT5 * r)


class Draws:
    """Joint draws of the objectives at the points that are there, in the gains' units.

    Args:
        surrogate: fitted.
        B: b x d points that are there, b at least 1.
        normals: S x (b + q) x m standard normal draws, q the number of points still to be added; zeros give
            the posterior means.
    """

    def __init__(self, surrogate: Surrogate, B: Tensor, normals: Tensor) -> None:
        self.processes = [Posterior(surrogate, output) for output in range(normals.shape[-1])]
        self.transforms = surrogate.transforms
        self.normals = normals
        self.F = torch.empty(normals.shape[0], 0, normals.shape[-1], dtype=torch.float64)
        self.add(B)

    def add(self, X: Tensor) -> None:
        """Count X (k x d) among the points that are there."""
        used = self.F.shape[1]
        z = self.normals[:, used : used + len(X)]  # S x k x m
        draws = []
        for output, process in enumerate(self.processes):
            mean, root = process.joint(X)
            draw = mean + root @ z[..., output].T  # k x S
            process.extend(X, draw)
            draws.append(self.transforms[output].to_gain(draw.T))
        self.F = torch.cat([self.F, torch.stack(draws, -1)], dim=1)
