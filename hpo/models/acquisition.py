"""Acquisition functions, each for points that come one after another; all are maximised, float64.

    qlognehvi    noisy expected hypervolume improvement (several objectives; the default)
    qlogehvi     the same, the posterior means of the observed points taken for their values
    qehvi        the same without the logarithm
    qlognparego  noisy expected improvement of a random augmented Chebyshev scalarisation a point
    qlognei      noisy expected improvement (one objective; the default)
    ucb          upper confidence bound (one objective); points under way count with their means

qLogNEHVI [Daulton2021] averages the hypervolume improvement over joint posterior draws of the observed points
and the new one. Points are added one by one here, so given a draw of the points that are already there, the
new point's objectives are independent normal variables, and its improvement has a closed form over the cells
of the non-dominated space [Yang2019]. Only the outer expectation is sampled. With one objective the same sum
has one cell and is qLogNEI. All in logarithms [Ament2023], in the gains' units (`hpo.models.transforms`).

    F       S x b x m   joint draws at the points that are there (`hpo.models.posterior`)
    cells   2 x S x c x m   lower and upper corners

References:
    [Daulton2021] S. Daulton, M. Balandat, E. Bakshy. Parallel Bayesian optimization of multiple noisy
        objectives with expected hypervolume improvement. NeurIPS 2021.
    [Yang2019] K. Yang, M. Emmerich, A. Deutz, T. Baeck. Efficient computation of expected hypervolume
        improvement using box decomposition algorithms. Journal of Global Optimization 75, 2019.
    [Ament2023] S. Ament et al. Unexpected improvements to expected improvement for Bayesian optimization.
        NeurIPS 2023.
    [Knowles2006] J. Knowles. ParEGO: a hybrid algorithm with on-line landscape approximation for expensive
        multiobjective optimization problems. IEEE Transactions on Evolutionary Computation 10, 2006.
    [Desautels2014] T. Desautels, A. Krause, J. Burdick. Parallelizing exploration-exploitation tradeoffs in
        Gaussian process bandit optimization. JMLR 15, 2014.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from botorch.utils.multi_objective.box_decompositions.box_decomposition_list import BoxDecompositionList
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from torch import Tensor
from torch.nn.functional import softplus

from hpo.models.gp import Array
from hpo.models.posterior import Draws
from hpo.models.transforms import Transform

_AUGMENTATION = 0.05
_SMOOTHING = 1e-3  # of a scalarisation's range: the width of the bend at no improvement


class Acquisition(Protocol):
    """Says what a point is worth, given those that are there."""

    def __call__(self, X: Tensor) -> Tensor:
        """Worth (k) of X (k x d), more is better, differentiable; a logarithm up to a constant."""

    def add(self, X: Tensor) -> None:
        """Count X (k x d) among the points that are there."""

    def set_reference_point(self, reference: Array) -> None:
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
        return UCB(draws, beta)
    if kind == "qlognparego":
        return Scalarised(draws, seed)
    return EHVI(draws, reference) if kind == "qehvi" else LogEHVI(draws, reference)


class LogEHVI:
    """The logarithm of the expected hypervolume improvement, for points that come one after another.

    Args:
        draws: at the points that are there; they are extended with every point added.
        reference: m coordinates of the reference point, in the gains' units.
    """

    def __init__(self, draws: Draws, reference: Array) -> None:
        self._draws = draws
        self.set_reference_point(reference)

    def add(self, X: Tensor) -> None:
        """Count X (k x d) among the points that are there."""
        self._draws.add(X)
        self._cells = cells(self._draws.F, self._reference)

    def set_reference_point(self, reference: Array) -> None:
        """Measure from another reference point (m) from now on."""
        self._reference = torch.from_numpy(reference)
        self._cells = cells(self._draws.F, self._reference)

    def __call__(self, X: Tensor) -> Tensor:
        """Log expected improvement (k) at X (k x d); differentiable in X."""
        lower, upper = self._cells  # S x c x m
        total = torch.zeros((), dtype=torch.float64)
        for output, (process, transform) in enumerate(
            zip(self._draws.processes, self._draws.transforms, strict=True)
        ):
            mean, deviation = process.posterior(X)
            normal = (mean[..., None], deviation[:, None, None])
            total = total + _log_width(transform, normal, lower[..., output], upper[..., output])
        return torch.logsumexp(total.flatten(1), -1) - math.log(lower.shape[0])


class EHVI(LogEHVI):
    """The expected hypervolume improvement itself: flat where it is too small to be told from 0."""

    def __call__(self, X: Tensor) -> Tensor:
        """Expected improvement (k) at X (k x d)."""
        return super().__call__(X).exp()


class UCB:
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

    def set_reference_point(self, reference: Array) -> None:
        """There is no reference point here."""


class Scalarised:
    """log E[improvement] of an augmented Chebyshev scalarisation [Knowles2006], another for every point.

    Args:
        draws: at the points that are there; the normals of the next point simulate the candidates.
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

    def set_reference_point(self, reference: Array) -> None:
        """There is no reference point here."""


def cells(F: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes that fill what F (S x b x m) does not dominate above the reference: corners, S x c x m each.

    With fewer cells in one draw than in another, the surplus ones are empty (lower = upper).
    """
    m = F.shape[-1]
    if m == 1:
        lower = torch.maximum(F.amax(1, keepdim=True), reference)
        return lower, torch.full_like(lower, math.inf)
    if m == 2:
        bounds = FastNondominatedPartitioning(ref_point=reference, Y=F).get_hypercell_bounds()
    else:  # the library takes no batch here
        parts = [FastNondominatedPartitioning(ref_point=reference, Y=draw) for draw in F]
        bounds = BoxDecompositionList(*parts).get_hypercell_bounds()
    return bounds[0], bounds[1]


def _log_width(transform: Transform, normal: tuple[Tensor, Tensor], lower: Tensor, upper: Tensor) -> Tensor:
    """log E[(min(u, upper) - lower)+], u the gain's value of a normal model value: k x S x c."""
    log_lower = transform.log_excess(*normal, lower)
    finite = torch.isfinite(upper)
    if not finite.any():  # with two objectives all cells are open towards one of them
        return log_lower
    log_upper = transform.log_excess(*normal, torch.where(finite, upper, lower + 1.0))
    return _log_difference(log_lower, torch.where(finite, log_upper, -math.inf))


def _log_difference(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) - exp(b)) for a >= b; a large negative number where they are equal."""
    gap = (a - b).clamp_min(1e-14)
    return a + torch.log(-torch.expm1(-gap))
