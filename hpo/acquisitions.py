"""The acquisition functions that can be chosen, each for points that come one after another.

    qlognehvi    noisy expected hypervolume improvement (several objectives; the default)
    qlogehvi     the same, the posterior means of the observed points taken for their values
    qehvi        the same without the logarithm
    qlognparego  noisy expected improvement of a random augmented Chebyshev scalarisation a point
    qlognei      noisy expected improvement (one objective; the default)
    ucb          upper confidence bound (one objective); points under way count with their means

References:
    [Knowles2006] J. Knowles. ParEGO: a hybrid algorithm with on-line landscape approximation for expensive
        multiobjective optimization problems. IEEE Transactions on Evolutionary Computation 10, 2006.
    [Desautels2014] T. Desautels, A. Krause, J. Burdick. Parallelizing exploration-exploitation tradeoffs in
        Gaussian process bandit optimization. JMLR 15, 2014.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from hpo.acquisition import Draws, Gain
from hpo.gp import Array

_AUGMENTATION = 0.05
_SMOOTHING = 1e-3  # of a scalarisation's range: the width of the bend at no improvement


class Acquisition(Protocol):
    """Says what a point is worth, given those that are there."""

    def __call__(self, X: Tensor) -> Tensor:
        """Worth (k) of X (k x d), more is better, differentiable; a logarithm up to a constant."""

    def add(self, X: Tensor) -> None:
        """Count X (k x d) among the points that are there."""

    def refer(self, reference: Array) -> None:
        """Measure from another reference point (m)."""


def is_noisy(kind: str) -> bool:
    """Whether the values of observed points are drawn; else their posterior means stand for them."""
    return kind in ("qlognehvi", "qlognparego", "qlognei")


def make_acquisition(kind: str, draws: Draws, reference: Array, seed: int, beta: float) -> Acquisition:
    """Build an acquisition function.

    Args:
        kind: its name, as above.
        draws: at the points that are there.
        reference: m coordinates, in the gains' units.
        seed: of random scalarisations.
        beta: of `ucb`: how many variances count.
    """
    if kind == "ucb":
        return Bound(draws, beta)
    if kind == "qlognparego":
        return Scalarised(draws, seed)
    return Plain(draws, reference) if kind == "qehvi" else Gain(draws, reference)


class Plain(Gain):
    """The expected hypervolume improvement itself: flat where it is too small to be told from 0."""

    def __call__(self, X: Tensor) -> Tensor:
        """Expected improvement (k) at X (k x d)."""
        return super().__call__(X).exp()


class Bound:
    """Mean plus the root of beta times the standard deviation [Desautels2014].

    Args:
        draws: with zeros for normals: points under way are believed to come out at their means.
        beta: how many variances count, above 0.
    """

    def __init__(self, draws: Draws, beta: float) -> None:
        self._draws, self._width = draws, math.sqrt(beta)

    def __call__(self, X: Tensor) -> Tensor:
        """The bound (k) at X (k x d), in the model's unit."""
        mean, deviation = self._draws.processes[0].posterior(X)
        return mean.mean(-1) + self._width * deviation

    def add(self, X: Tensor) -> None:
        """Count X (k x d) among the points that are there."""
        self._draws.add(X)

    def refer(self, reference: Array) -> None:
        """There is no reference point here."""


class Scalarised:
    """log E[improvement] of an augmented Chebyshev scalarisation [Knowles2006], another for every point.

    Args:
        draws: at the points that are there; the normals of the next point simulate the candidates.
        seed: of the weights.
    """

    def __init__(self, draws: Draws, seed: int) -> None:
        self._draws, self._generator = draws, torch.Generator().manual_seed(seed)
        self._turn()

    def _turn(self) -> None:
        F, m = self._draws.F, self._draws.F.shape[-1]
        cuts = torch.rand(m, generator=self._generator, dtype=torch.float64).clamp_min(1e-12).log().neg()
        self._weights = cuts / cuts.sum()  # uniform on the simplex
        flat = F.flatten(0, 1)
        self._ideal = flat.amax(0)
        self._span = (self._ideal - flat.amin(0)).clamp_min(1e-9)
        self._best = self._scalar(F).amax(1)  # S
        self._z = self._draws.normals[:, F.shape[1]]  # S x m

    def _scalar(self, F: Tensor) -> Tensor:
        """... x m values to maximise, to ... scalars to maximise."""
        missing = (self._ideal - F) / self._span * self._weights
        return -missing.amax(-1) - _AUGMENTATION * missing.sum(-1)

    def __call__(self, X: Tensor) -> Tensor:
        """Log expected improvement (k) at X (k x d)."""
        values = []
        for output, (process, transform) in enumerate(
            zip(self._draws.processes, self._draws.transforms, strict=True)
        ):
            mean, deviation = process.posterior(X)
            values.append(transform.to_gain(mean + deviation[:, None] * self._z[:, output]))
        improvement = self._scalar(torch.stack(values, -1)) - self._best  # k x S
        smooth = _SMOOTHING * softplus(improvement / _SMOOTHING) + 1e-12 * torch.sigmoid(improvement)
        return smooth.mean(-1).log()

    def add(self, X: Tensor) -> None:
        """Count X (k x d) among the points that are there, and turn to other weights."""
        self._draws.add(X)
        if self._draws.F.shape[1] < self._draws.normals.shape[1]:
            self._turn()

    def refer(self, reference: Array) -> None:
        """There is no reference point here."""
