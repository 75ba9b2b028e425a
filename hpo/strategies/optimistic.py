"""Simultaneous optimistic optimisation, plain and with a model, for one objective.

`soo` splits the unit cube into ever smaller cells and evaluates their centres [Munos2011]. `bamsoo`
evaluates a centre only where the upper confidence bound of a Gaussian process reaches the best result;
elsewhere the lower bound stands for the value, which costs nothing and is no result [Wang2014]. See
`hpo.strategies.cell_tree` for the cells.

What a study adds to the algorithms: the bounds are those of everything that was told, not of what was known
when a centre first came up, so a proposal depends on the history alone; a centre that was passed over is
evaluated later if results raise its bound. A configuration that cannot work is worth less than any result:
its cell is split last. One that ended without teaching anything is worth what its parent's centre is worth.

References:
    [Munos2011] R. Munos. Optimistic optimization of a deterministic function without the knowledge of its
        smoothness. NeurIPS 2011.
    [Wang2014] Z. Wang, B. Shakibi, L. Jin, N. de Freitas. Bayesian multi-scale optimistic optimization.
        AISTATS 2014.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from hpo.errors import Problem
from hpo.models.history import History, Origin, Proposal
from hpo.space.space import Point
from hpo.strategies.cell_tree import CellTree, CentreValue
from hpo.strategies.initial_design import Propose, sobol_proposals, with_model
from hpo.strategies.unused import first_unused
from hpo.validation import STRICT

# point, how many standard deviations -> lower and upper bound
ConfidenceBounds: TypeAlias = Callable[[Point, float], tuple[float, float]]


def _odd(parts: int) -> int:
    if parts % 2 == 0:
        raise ValueError(f"expected an odd number, so that a child shares its parent's centre, got {parts}")
    return parts


Parts = Annotated[int, Field(ge=3), AfterValidator(_odd)]


def _problems(name: str, objectives: int) -> list[Problem]:
    if objectives == 1:
        return []
    return [
        (
            "strategy.name",
            f"{name} expects one objective, got {objectives}: use bo or nsga2, or objectives=loss",
        )
    ]


@dataclass(frozen=True, config=STRICT)
class SOO:
    """Simultaneous optimistic optimisation.

    Args:
        parts: how many cells a cell is split into, odd.
    """

    parts: Parts

    def problems(self, objectives: int) -> list[Problem]:
        """What does not fit a study of so many objectives."""
        return _problems("soo", objectives)

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The centres that the next splits need; Sobol points where these bring none that is new."""
        return _centres_or_sobol(history, count, self.parts)


@dataclass(frozen=True, config=STRICT)
class BaMSOO:
    """Bayesian multi-scale optimistic optimisation.

    Args:
        parts: how many cells a cell is split into, odd.
        eta: the probability with which some bound may fail; smaller ones evaluate more.
    """

    parts: Parts
    eta: Annotated[float, Field(gt=0, lt=1)]

    def problems(self, objectives: int) -> list[Problem]:
        """What does not fit a study of so many objectives."""
        return _problems("bamsoo", objectives)

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The centres that the next splits need and that may be the best.

        Where there are no more, those passed over follow, the largest upper bound first, then Sobol points.
        Without a model every centre is evaluated.
        """
        return with_model(history, count, self._modelled, self._without_model)

    def _without_model(self, history: History, count: int, why: str) -> list[Proposal]:
        return _centres_or_sobol(history, count, self.parts, why)

    def _modelled(self, history: History, count: int) -> list[Proposal]:
        from hpo.models.guard import guarded  # torch: loaded when the first model is needed

        bounds = _bounds(history)

        def bounded(known: History, left: int) -> list[Proposal]:
            values = BoundedValues(KnownValues(known), bounds, self.eta)
            return _centres(known, left, self.parts, values) or first_unused(
                known, values.passed_over(), 1, Origin.PARTITION, "passed over before", remaining=False
            )

        with guarded():
            return _in_turn(history, count, bounded)


class KnownValues:
    """What centres are worth by what was told of them: more is better, and the mean of what was measured.

    Args:
        history: of one objective.
    """

    def __init__(self, history: History) -> None:
        self.key = history.space.key
        values: dict[Point, list[float]] = {}
        for observation in history.observations:
            values.setdefault(self.key(observation.point), []).append(-observation.values[0])
        self.values = {key: fmean(measured) for key, measured in values.items()}
        self._failed = set(map(self.key, history.failures))
        self._spent = set(map(self.key, history.spent))
        self.pending = set(map(self.key, history.pending))

    def __call__(self, centre: Point, parent: float | None) -> float | None:
        """See `hpo.strategies.cell_tree.CentreValue`."""
        key = self.key(centre)
        if key in self.values:
            return self.values[key]
        if key in self._failed:
            return -math.inf
        if key in self._spent and key not in self.pending:
            return -math.inf if parent is None else parent
        return None


class BoundedValues:
    """What centres are worth where a bound stands for the value of those that cannot be the best.

    Args:
        known: at least one result.
    """

    def __init__(self, known: KnownValues, bounds: ConfidenceBounds, eta: float) -> None:
        self._known, self._bounds, self._eta = known, bounds, eta
        self._best = max(known.values.values())
        self._count = 0
        self._passed: dict[Point, tuple[float, Point]] = {}

    def __call__(self, centre: Point, parent: float | None) -> float | None:
        """See `hpo.strategies.cell_tree.CentreValue`."""
        self._count += 1
        value, key = self._known(centre, parent), self._known.key(centre)
        if value is not None or key in self._known.pending:
            return value
        lower, upper = self._bounds(centre, width(self._count, self._eta))
        if upper >= self._best:
            self._passed.pop(key, None)
            return None
        self._passed[key] = upper, centre
        return lower

    def passed_over(self) -> list[Point]:
        """The centres for which a bound stands, the largest upper bound first."""
        return [
            centre for upper, centre in sorted(self._passed.values(), key=lambda pair: (-pair[0], pair[1]))
        ]


def width(count: int, eta: float) -> float:
    """sqrt(2 log(pi^2 N^2 / (6 eta))): with it N bounds, one a cell, all hold with probability 1 - eta."""
    return math.sqrt(2 * math.log(math.pi**2 * count**2 / (6 * eta)))


def _bounds(history: History) -> ConfidenceBounds:
    from hpo.models.propose import confidence_bounds  # SciPy and torch: loaded when the first model is needed

    return confidence_bounds(history)


def _in_turn(history: History, count: int, propose: Propose) -> list[Proposal]:
    """What is proposed until there are `count`, those before under way; Sobol points where nothing is.

    What is no centre that the tree waits for may be the centre of a cell further down, and be waited for.
    """
    proposals: list[Proposal] = []
    while left := count - len(proposals):
        known = history.with_pending(proposals)
        fresh = propose(known, left) or sobol_proposals(known, 1, "no new centre")
        if not fresh:
            break
        proposals += fresh
    return proposals


def _centres_or_sobol(history: History, count: int, parts: int, why: str = "") -> list[Proposal]:
    def centres(known: History, left: int) -> list[Proposal]:
        return _centres(known, left, parts, KnownValues(known), why)

    return _in_turn(history, count, centres)


def _centres(
    history: History, count: int, parts: int, value_of: CentreValue, why: str = ""
) -> list[Proposal]:
    """Centres that the next splits need and nobody proposed or told, at most `count`; `why` is noted."""
    proposals: list[Proposal] = []
    space = history.space
    for leaf in CellTree(space, parts, value_of).wanted():
        if space.key(leaf.centre) in history.taken:
            continue
        note = "; ".join(filter(None, (f"depth {leaf.cell.depth}", why)))
        proposals.append(Proposal(space.from_unit(leaf.centre), Origin.PARTITION, note))
        if len(proposals) == count:
            break
    return proposals
