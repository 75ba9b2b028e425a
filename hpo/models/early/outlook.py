"""What is left to gain: by the best new trial, by finishing one that is under way, and how sure the front is.

All are hypervolumes from one reference point, a tenth of the front's range beyond it, as shares of the
hypervolume of the believed front; a new trial's counts as often as it is likely to work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from botorch.models import ModelListGP

from hpo.models.acquisition import MOST_WITH_CELLS, Weighted
from hpo.models.acquisition_search import AcquisitionSearch
from hpo.models.distances import Array
from hpo.models.feasibility import fit_feasibility
from hpo.models.feasibility_prior import prior_at_points
from hpo.models.gp import Model, ObjectiveGP
from hpo.models.guard import guarded
from hpo.models.history import History
from hpo.models.lognehvi import (
    LogNoisyExpectedHypervolumeImprovement,
    LogRayHypervolumeImprovement,
    joint_draws,
    sobol_normals,
)
from hpo.models.propose import promising
from hpo.models.reference_point import reference_beyond
from hpo.models.surrogate import fit_surrogate
from hpo.pareto import front, hypervolume
from hpo.space.space import Point

_MARGIN = 0.1  # as `hpo.pareto` has it
_DRAWS = 32  # of the front


class Outlook:
    """What is left to gain.

    Args:
        history: at least two observations and one dimension; ends of others may be foretold.

    Raises:
        FitError: no surrogate could be fitted.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        with guarded():
            self._surrogate = fit_surrogate(history)
            objectives = list(history.objectives.values())
            reference = reference_beyond(self._surrogate, objectives, _MARGIN)
            there = promising(self._surrogate, history.derived_seed("promising"))
            processes = list(self._surrogate.processes.values())
            seed = history.derived_seed("draws")
            pending = torch.tensor(history.pending, dtype=torch.float64) if history.pending else None
            model = processes[0] if len(processes) == 1 else ModelListGP(*processes)
            given = model, torch.from_numpy(reference), there, _DRAWS, seed
            rays = len(processes) > MOST_WITH_CELLS
            volumes = _volumes_by_rays(*given) if rays else _volumes(processes, there, reference, seed)
            self._whole = float(np.mean(volumes)) or 1.0
            self.noise = float(np.std(volumes)) / self._whole
            improvement = LogRayHypervolumeImprovement if rays else LogNoisyExpectedHypervolumeImprovement
            self._acquisition = improvement(*given, pending)
            prior = history.feasibility_prior and prior_at_points(history.feasibility_prior, history.space)
            feasibility = fit_feasibility(history, prior)
        weights = [feasibility] if feasibility is not None else []
        self._weighted = Weighted("lognehvi", self._acquisition, weights)

    def fresh(self, points: Sequence[Point] = ()) -> float:
        """The expected gain of the best new trial, among these points and those that a search begins with."""
        history = self._history
        anchors = front([observation.values for observation in history.observations])
        search = AcquisitionSearch(
            history.space,
            [history.observations[place].point for place in anchors],
            history.derived_seed("outlook"),
        )
        with guarded(), torch.no_grad():
            known = search.peak(lambda X: self._weighted(X.unsqueeze(-2)), points)
        return math.exp(known) / self._whole

    def finishing(self, draws: Array) -> tuple[float, float]:
        """The expected gain of a trial with these final values, and its chance to be on the front.

        Args:
            draws: S x m values to minimise.
        """
        transforms = self._surrogate.transforms
        U = np.column_stack([own.gained(-column) for own, column in zip(transforms, draws.T, strict=True)])
        gains = self._acquisition.gains(torch.from_numpy(U))
        return float(gains.mean()) / self._whole, float((gains > 0).double().mean())


def _volumes(processes: list[ObjectiveGP], there: torch.Tensor, reference: Array, seed: int) -> list[float]:
    """The hypervolume of each draw of the front."""
    _, F = joint_draws(processes, there, sobol_normals(_DRAWS, len(there), len(processes), seed))
    return [hypervolume((-draw).tolist(), (-reference).tolist()) for draw in F]


def _volumes_by_rays(
    model: Model, reference: torch.Tensor, there: torch.Tensor, draws: int, seed: int
) -> list[float]:
    """The same in units of their mean, of more objectives than cells are for."""
    own: list[float] = LogRayHypervolumeImprovement(model, reference, there, draws, seed).volumes.tolist()
    return own
