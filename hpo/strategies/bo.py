"""Bayesian optimisation: Sobol first, then the points of the largest expected gain under a surrogate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hpo.config import STRICT
from hpo.history import History, Origin, Proposal
from hpo.strategies.sobol import sobol_proposals
from hpo.strategies.unused import first_unused

_FEWEST = 2  # results that a model needs


@dataclass(frozen=True, config=STRICT)
class BayesianOptimisation:
    """Bayesian optimisation.

    Args:
        initial: Sobol trials before the first model; None for twice the number of parameters, 4 to 10.
    """

    initial: Annotated[int, Field(ge=1)] | None

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The rest of the initial design, then the model's points.

        Where no model can be had, too few results or a fit that fails, Sobol points go on, and each says why.
        """
        size = self.initial or min(max(4, 2 * len(history.space)), 10)
        left = min(size - history.asked, count)
        if left <= 0:
            return self._informed(history, count)
        design = sobol_proposals(history, left, "initial design")
        if left == count:
            return design
        return design + self._informed(history.with_pending(design), count - left)

    def _informed(self, history: History, count: int) -> list[Proposal]:
        """The model's points, or Sobol points while there is too little to learn from."""
        told = len(history.observations)
        if told < _FEWEST:
            return sobol_proposals(history, count, f"no model yet: results {told}, needed {_FEWEST}")
        if not len(history.space):
            return []
        from hpo.gp import FitError  # SciPy and torch: loaded when the first model is needed
        from hpo.proposing import model_points

        try:
            points, note = model_points(history, count)
        except FitError as error:
            return sobol_proposals(history, count, f"the fit failed: {error}")
        proposals = first_unused(history, points, count, Origin.MODEL, note)
        if len(proposals) == count:
            return proposals
        rest = sobol_proposals(
            history.with_pending(proposals), count - len(proposals), "the model had no more"
        )
        return proposals + rest
