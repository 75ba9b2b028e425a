"""Bayesian optimisation: Sobol first, then the points of the largest expected gain under a surrogate."""

from __future__ import annotations

from itertools import chain
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hpo.config import STRICT
from hpo.history import History, Origin, Proposal, derive_seed
from hpo.strategies.sobol import sobol_points, sobol_proposals
from hpo.strategies.unused import first_unused


@dataclass(frozen=True, config=STRICT)
class BayesianOptimisation:
    """Bayesian optimisation.

    Args:
        initial: Sobol trials before the first model; None for twice the number of parameters, 4 to 10.
    """

    initial: Annotated[int, Field(ge=1)] | None

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The rest of the initial design, then the model's points."""
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
        if len(history.observations) < 2 or len(history.space) == 0:
            return sobol_proposals(
                history, count, f"{len(history.observations)} results are too few for a model"
            )
        return self._model(history, count)

    def _model(self, history: History, count: int) -> list[Proposal]:
        from hpo.acquisition import propose_points  # torch: loaded when the first model is needed
        from hpo.surrogate import fit_surrogate, one_thread

        with one_thread():
            points = propose_points(fit_surrogate(history), history, count)
        rest = sobol_points(len(history.space), derive_seed(history.seed, "sobol"), history.asked)
        return first_unused(history, chain(points, rest), count, Origin.MODEL)
