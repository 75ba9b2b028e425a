"""Confidence bounds of one objective: what a configuration may at least and at most come out at."""

from __future__ import annotations

import torch

from hpo.models.guard import guarded
from hpo.models.history import History
from hpo.models.posterior import Posterior
from hpo.models.surrogate import fit_surrogate
from hpo.space.space import Point


class Bounds:
    """The bounds of a study of one objective, in its own unit turned so that more is better.

    Args:
        history: at least two results, at least one dimension.

    Raises:
        FitError: no surrogate could be fitted.
    """

    def __init__(self, history: History) -> None:
        with guarded():
            surrogate = fit_surrogate(history)
            self._posterior = Posterior(surrogate, 0)
        self._transform = surrogate.transforms[0]

    def __call__(self, point: Point, width: float) -> tuple[float, float]:
        """mean - width deviation and mean + width deviation.

        Args:
            point: of the unit cube.
            width: how many standard deviations, at least 0.
        """
        with guarded():
            mean, deviation = self._posterior.posterior(torch.tensor([point], dtype=torch.float64))
        ends = mean[:, 0] + width * torch.stack([-deviation[0], deviation[0]])
        lower, upper = (self._transform.to_gain(ends) * self._transform.unit + self._transform.level).tolist()
        return lower, upper
