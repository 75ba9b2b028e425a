"""Noisy expected hypervolume improvement with five objectives and more, along random directions.

The cells of `hpo.models.lognehvi` become too many: tens of thousands for 40 points of six objectives. But a
hypervolume is an expectation over directions w, uniform on the positive part of the unit sphere
[Golovin2020], of how far a ray from the reference point r gets before the front ends:

    c_m E[ h_w^m ],   h_w = max over the points y of min_i (y_i - r_i)_+ / w_i

The expectation is taken over some directions, and over joint draws of the points that are there and the new
one. Its logarithm has slopes where no draw improves [Ament2023].

    rays    L x m       directions
    best    S x L       how far every ray gets in every draw

References:
    [Golovin2020] D. Golovin, Q. Zhang. Random hypervolume scalarizations for provable multi-objective black
        box optimization. ICML 2020.
    [Ament2023] S. Ament et al. Unexpected improvements to expected improvement for Bayesian optimization.
        NeurIPS 2023.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from botorch.acquisition import AcquisitionFunction
from botorch.models import ModelListGP
from botorch.utils.safe_math import log_fatplus
from botorch.utils.sampling import draw_sobol_normal_samples
from botorch.utils.transforms import t_batch_mode_transform
from torch import Tensor

from hpo.models.gp import ObjectiveGP
from hpo.models.lognehvi import joint_draws, sobol_normals

RAYS = 64
_BEND = 1e-3  # of the mean hypervolume: the width of the bend at no improvement


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
