"""NSGA-II: evolution of the best results, for one or several objectives [Deb2002].

Sorting, tournaments, crossover and mutation are pymoo's. The population is not kept: at every proposal the
parents are the survivors of everything that was told.

References:
    [Deb2002] K. Deb, A. Pratap, S. Agarwal, T. Meyarivan. A fast and elitist multiobjective genetic
        algorithm: NSGA-II. IEEE Transactions on Evolutionary Computation 6(2), 2002.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from hpo.models.history import History, Origin, Proposal, derive_seed
from hpo.space.space import Choice, Point, SearchSpace
from hpo.strategies.initial_design import after_design, filled_up, sobol_proposals
from hpo.strategies.unused import first_unused
from hpo.validation import STRICT

if TYPE_CHECKING:
    from pymoo.core.mixed import MixedVariableMating
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem

_ROUND = 16  # children made at a time
# Of 6, 10, 16, 24 and 40 parents, 10 and 16 had the largest hypervolumes after 60, 120 and 240 trials of
# three problems with six parameters.
_LEAST, _MOST = 10, 20


@dataclass(frozen=True, config=STRICT)
class NSGA2:
    """Evolution of the best results.

    Args:
        population: Sobol trials before the first children, and the most results that have children; None for
            twice the number of parameters, 10 to 20.
    """

    population: Annotated[int, Field(ge=2)] | None

    def __post_init__(self) -> None:
        if find_spec("pymoo") is None:
            raise ValueError("nsga2 needs pymoo, which is not installed: pip install 'frontrunner[nsga2]'")

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The rest of the initial design, then children of the best results.

        Where there are no results, or no new children, Sobol points go on, and each says why.
        """
        size = self.population or min(max(_LEAST, 2 * len(history.space)), _MOST)
        return after_design(
            history,
            size,
            count,
            lambda known, left: sobol_proposals(known, left, "initial design"),
            lambda known, left: _evolved(known, size, left),
        )


def _evolved(history: History, size: int, count: int) -> list[Proposal]:
    """Children of the best `size` results, or Sobol points where there is nobody to have any."""
    if not len(history.space):
        return []
    if not history.observations:
        return sobol_proposals(history, count, "no parents yet: results 0, needed 1")
    proposals = first_unused(history, children(history, size), count, Origin.EVOLUTION, remaining=False)
    return filled_up(history, proposals, count, "no new children")


def children(history: History, size: int) -> Iterator[Point]:
    """Endless children of the survivors: tournaments, then crossover and mutation.

    Numbers are crossed by SBX and changed by polynomial mutation in the unit cube; the values of unordered
    choices, which have no direction, are exchanged and redrawn.

    Args:
        history: at least one observation, at least one dimension.
        size: how many survive.

    Returns:
        Points of the unit cube, not rounded.
    """
    # not of what is under way: then four children at a time are four one by one
    rng = np.random.default_rng(derive_seed(history.seed, history.ended, "nsga2"))
    problem = _problem(history.space, len(history.objectives))
    parents = _survivors(history, problem, size, rng)
    mating = _mating()
    algorithm = SimpleNamespace(tournament_type="comp_by_dom_and_crowding", random_state=rng)
    while True:
        born = mating(problem, parents, _ROUND, random_state=rng, algorithm=algorithm)
        yield from (tuple(float(own.X[name]) for name in history.space.dimensions) for own in born)


def _survivors(history: History, problem: Problem, size: int, rng: np.random.Generator) -> Population:
    """The best results by rank, then by crowding distance.

    A point that was told more than once is one individual with the mean of its values. Failures are nobody's
    parents: without values all of them rank equally, behind every result.
    """
    from pymoo.core.population import Population
    from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

    told: dict[Point, list[tuple[float, ...]]] = {}
    for own in history.observations:
        told.setdefault(own.point, []).append(own.values)
    X = np.array([dict(zip(history.space.dimensions, point, strict=True)) for point in told])
    # divided first: the sum of the largest numbers is infinite
    F = np.array([(np.array(values) / len(values)).sum(0) for values in told.values()])  # n x m
    everyone = Population.new("X", X, "F", F)
    return RankAndCrowding().do(problem, everyone, n_survive=size, random_state=rng)


def _problem(space: SearchSpace, objectives: int) -> Problem:
    from pymoo.core import variable
    from pymoo.core.problem import Problem

    variables = {
        name: variable.Choice(options=[own.grid.unit(index) for index in range(own.levels)])
        if isinstance(own, Choice) and not own.ordered
        else variable.Real(bounds=(0.0, 1.0))
        for name, own in space.dimensions.items()
    }
    return Problem(vars=variables, n_obj=objectives)


def _mating() -> MixedVariableMating:
    """Binary tournaments and the operators of [Deb2002], with pymoo's distribution indices of NSGA-II."""
    from pymoo.algorithms.moo.nsga2 import binary_tournament
    from pymoo.core import variable
    from pymoo.core.mixed import MixedVariableMating
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.crossover.ux import UX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.mutation.rm import ChoiceRandomMutation
    from pymoo.operators.selection.tournament import TournamentSelection

    return MixedVariableMating(
        selection=TournamentSelection(func_comp=binary_tournament),
        crossover={variable.Real: SBX(eta=15, prob=0.9), variable.Choice: UX()},
        mutation={variable.Real: PM(eta=20), variable.Choice: ChoiceRandomMutation()},
        eliminate_duplicates=None,
    )
