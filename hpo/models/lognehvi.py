"""Noisy expected hypervolume improvement of points that come one after another, in closed form.

qLogNEHVI [Daulton2021] averages the hypervolume improvement over joint posterior draws of the observed points
and the new ones. Where points are added one by one, the new point's objectives are independent normal
variables given a draw of the points that are there, and its improvement has a closed form over the cells of
the non-dominated space [Yang2019]. Only the outer expectation is sampled. With one objective the same sum has
one cell and is noisy expected improvement. All in logarithms [Ament2023], in the gains' units
(`hpo.models.transforms`), so a threshold or a skewed objective costs nothing of the closed form.

With five objectives and more there are too many cells: tens of thousands for 40 points of six. But a
hypervolume is an expectation over directions w, uniform on the positive part of the unit sphere, of how far a
ray from the reference point r gets before the front ends [Golovin2020]:

    c_m E[ h_w^m ],   h_w = max over the points y of min_i (y_i - r_i)_+ / w_i

There the expectation is taken over some directions, and over joint draws of what is there and the new point.

    B       b x d       points that are there: observed ones that may be on the front, pending ones
    F       S x b x m   joint draws at B
    cells   2 x S x c x m   lower and upper corners
    rays    L x m       directions
    best    S x L       how far every ray gets in every draw

References:
    [Daulton2021] S. Daulton, M. Balandat, E. Bakshy. Parallel Bayesian optimization of multiple noisy
        objectives with expected hypervolume improvement. NeurIPS 2021.
    [Yang2019] K. Yang, M. Emmerich, A. Deutz, T. Baeck. Efficient computation of expected hypervolume
        improvement using box decomposition algorithms. Journal of Global Optimization 75, 2019.
    [Ament2023] S. Ament et al. Unexpected improvements to expected improvement for Bayesian optimization.
        NeurIPS 2023.
    [Golovin2020] D. Golovin, Q. Zhang. Random hypervolume scalarizations for provable multi-objective black
        box optimization. ICML 2020.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from botorch.acquisition import AcquisitionFunction
from botorch.models import ModelListGP
from botorch.utils.multi_objective.box_decompositions.box_decomposition_list import BoxDecompositionList
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from botorch.utils.safe_math import log_fatplus
from botorch.utils.sampling import draw_sobol_normal_samples
from botorch.utils.transforms import t_batch_mode_transform
from torch import Tensor

from hpo.models.gp import Model, ObjectiveGP
from hpo.models.posterior import Posterior
from hpo.models.transforms import ObjectiveTransform

RAYS = 64
_BEND = 1e-3  # of the mean hypervolume: the width of the bend at no improvement


class LogNoisyExpectedHypervolumeImprovement(AcquisitionFunction):
    """The logarithm of the expected hypervolume improvement of one more point.

    Args:
        model: an `ObjectiveGP`, or a list of m of them.
        ref_point: m coordinates, in the gains' units.
        X_baseline: b x d observed points that may be on the front, b at least 1.
        draws: S, joint draws of the points that are there.
        seed: of the draws.
        X_pending: p x d points that are under way.
    """

    def __init__(
        self,
        model: Model,
        ref_point: Tensor,
        X_baseline: Tensor,
        draws: int = 32,
        seed: int = 0,
        X_pending: Tensor | None = None,
    ) -> None:
        super().__init__(model)
        self._processes: list[ObjectiveGP] = (
            [cast(ObjectiveGP, each) for each in model.models] if isinstance(model, ModelListGP) else [model]
        )
        self.ref_point, self.X_baseline = ref_point, X_baseline
        self._draws, self._seed = draws, seed
        self.set_X_pending(X_pending)

    def set_X_pending(self, X_pending: Tensor | None = None) -> None:
        """Count these points (p x d) among those that are there."""
        super().set_X_pending(X_pending)
        there = self.X_baseline if X_pending is None else torch.cat([self.X_baseline, X_pending])
        normals = sobol_normals(self._draws, len(there), len(self._processes), self._seed)
        self.posteriors, F = joint_draws(self._processes, there, normals)
        self.cells = cells(F, self.ref_point)

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: Tensor) -> Tensor:
        """Log expected improvement (k) at X (k x 1 x d); differentiable in X."""
        lower, upper = self.cells  # S x c x m
        total = torch.zeros((), dtype=torch.float64)
        for output, (posterior, process) in enumerate(zip(self.posteriors, self._processes, strict=True)):
            mean, deviation = posterior.posterior(X.squeeze(-2))
            normal = (mean[..., None], deviation[:, None, None])
            total = total + _log_width(process.transform, normal, lower[..., output], upper[..., output])
        return torch.logsumexp(total.flatten(1), -1) - math.log(lower.shape[0])

    def gains(self, U: Tensor) -> Tensor:
        """What each point of U (n x m, in the gains' units) adds to the hypervolume of each draw, n x S."""
        lower, upper = self.cells
        sides = (torch.minimum(U[:, None, None, :], upper) - lower).clamp_min(0)  # n x S x c x m
        return sides.prod(-1).sum(-1)


class LogRayHypervolumeImprovement(AcquisitionFunction):
    """The logarithm of the expected hypervolume improvement of one more point, in units of the hypervolume.

    Args:
        model: m objectives.
        ref_point: m coordinates, in the gains' units.
        X_baseline: b x d observed points that may be on the front, b at least 1.
        draws: S, joint draws of the points that are there and the new one.
        seed: of draws and directions.
        X_pending: p x d points that are under way.
        rays: L.
    """

    def __init__(
        self,
        model: ModelListGP,
        ref_point: Tensor,
        X_baseline: Tensor,
        draws: int = 32,
        seed: int = 0,
        X_pending: Tensor | None = None,
        rays: int = RAYS,
    ) -> None:
        super().__init__(model)
        self._processes = [cast(ObjectiveGP, each) for each in model.models]
        self.ref_point, m = ref_point, len(self._processes)
        there = X_baseline if X_pending is None else torch.cat([X_baseline, X_pending])
        normals = sobol_normals(draws, len(there) + 1, m, seed)
        self.posteriors, F = joint_draws(self._processes, there, normals[:, :-1])
        self._normals = normals[:, -1]  # S x m
        directions = draw_sobol_normal_samples(m, rays, seed=seed, dtype=torch.float64).abs()
        self._rays = directions / directions.norm(dim=-1, keepdim=True)
        self._best = self._volume(F).amax(1)
        self._unit = self._best.mean().clamp_min(1e-9)

    def _volume(self, U: Tensor) -> Tensor:
        """h^m (... x L) of single points U (... x m) in the gains' units; below 0 beyond the reference."""
        reach = ((U - self.ref_point).unsqueeze(-2) / self._rays).amin(-1)
        volume: Tensor = reach.clamp_min(0) ** U.shape[-1] + reach.clamp_max(0)
        return volume

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: Tensor) -> Tensor:
        """Log expected improvement (k) at X (k x 1 x d); differentiable in X."""
        gains = []
        for output, (posterior, process) in enumerate(zip(self.posteriors, self._processes, strict=True)):
            mean, deviation = posterior.posterior(X.squeeze(-2))  # k x S, k
            gains.append(process.transform.to_gain(mean + deviation[:, None] * self._normals[:, output]))
        rise = (self._volume(torch.stack(gains, -1)) - self._best.clamp_min(0)) / self._unit  # k x S x L
        logarithms = log_fatplus(rise, tau=_BEND).flatten(1)
        return torch.logsumexp(logarithms, -1) - math.log(logarithms.shape[1])

    @property
    def volumes(self) -> Tensor:
        """The hypervolume of what is there in each draw, S, in units of their mean."""
        return self._best.clamp_min(0).mean(-1) / self._unit

    def gains(self, U: Tensor) -> Tensor:
        """What each point of U (n x m, in the gains' units) adds to each of `volumes`, n x S."""
        rise = self._volume(U).unsqueeze(1) - self._best.clamp_min(0)  # n x S x L
        return rise.clamp_min(0).mean(-1) / self._unit


def sobol_normals(draws: int, points: int, m: int, seed: int) -> Tensor:
    """Standard normal draws, S x points x m, quasi-random; points times m is at most 21,201."""
    flat = draw_sobol_normal_samples(points * m, draws, seed=seed, dtype=torch.float64)
    return flat.reshape(draws, points, m)


@torch.no_grad()
def joint_draws(
    processes: list[ObjectiveGP], there: Tensor, normals: Tensor
) -> tuple[list[Posterior], Tensor]:
    """Joint draws at the points that are there (b x d), and the posteriors that go on from them.

    Args:
        normals: S x b x m standard normal draws; zeros give the posterior means.

    Returns:
        m posteriors, and F (S x b x m) in the gains' units.
    """
    posteriors, draws = [], []
    for output, process in enumerate(processes):
        posterior = Posterior(process)
        mean, root = posterior.joint(there)
        draw = mean + root @ normals[..., output].T  # b x S
        posterior.extend(there, draw)
        posteriors.append(posterior)
        draws.append(process.transform.to_gain(draw.T))
    return posteriors, torch.stack(draws, -1)


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


def _log_width(
    transform: ObjectiveTransform, normal: tuple[Tensor, Tensor], lower: Tensor, upper: Tensor
) -> Tensor:
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
