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
from hpo.strategies.cell_tree import Appraise, Partition
from hpo.strategies.initial_design import filled_up
from hpo.strategies.unused import first_unused
from hpo.validation import STRICT

_FEWEST = 2  # results that a model needs
ConfidenceBound: TypeAlias = Callable[
    [Point, float], tuple[float, float]
]  # point, width -> lower and upper bound


def _odd(parts: int) -> int:
    if parts % 2 == 0:
        raise ValueError(f"expected an odd number, so that a child shares its parent's centre, got {parts}")
    return parts


Parts = Annotated[int, Field(ge=3), AfterValidator(_odd)]


def _problems(name: str, objectives: int) -> list[Problem]:
    if objectives == 1:
        return []
    return [("strategy.name", f"{name} expects one objective, got {objectives}: use bo or nsga2")]


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
        proposals = _centres(history, count, self.parts, Told(history))
        return filled_up(history, proposals, count, "no new centre")


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
        told = Told(history)
        bound = _bound(history)
        if bound is None:
            proposals = _centres(history, count, self.parts, told)
            return filled_up(history, proposals, count, "no new centre")
        appraise = Bounded(told, bound, self.eta)
        proposals = _centres(history, count, self.parts, appraise)
        if len(proposals) < count:
            known = history.with_pending(proposals)
            left = count - len(proposals)
            note = "passed over before"
            proposals += first_unused(
                known, appraise.passed_over(), left, Origin.PARTITION, note, remaining=False
            )
        return filled_up(history, proposals, count, "no new centre")


class Told:
    """What centres are worth by what was told of them: more is better, and the mean of what was measured.

    Args:
        history: of one objective.
    """

    def __init__(self, history: History) -> None:
        self.key = history.space.key
        values: dict[Point, list[float]] = {}
        for own in history.observations:
            values.setdefault(self.key(own.point), []).append(-own.values[0])
        self.values = {key: fmean(own) for key, own in values.items()}
        self._failed = set(map(self.key, history.failures))
        self._spent = set(map(self.key, history.spent))
        self.pending = set(map(self.key, history.pending))

    def __call__(self, centre: Point, parent: float | None) -> float | None:
        """See `hpo.strategies.cell_tree.Appraise`."""
        key = self.key(centre)
        if key in self.values:
            return self.values[key]
        if key in self._failed:
            return -math.inf
        if key in self._spent and key not in self.pending:
            return -math.inf if parent is None else parent
        return None


class Bounded:
    """What centres are worth where a bound stands for the value of those that cannot be the best.

    Args:
        told: at least one result.
        bound: of the objective.
        eta: see `BaMSOO`.
    """

    def __init__(self, told: Told, bound: ConfidenceBound, eta: float) -> None:
        self._told, self._bound, self._eta = told, bound, eta
        self._best = max(told.values.values())
        self._count = 0
        self._passed: dict[Point, tuple[float, Point]] = {}

    def __call__(self, centre: Point, parent: float | None) -> float | None:
        """See `hpo.strategies.cell_tree.Appraise`."""
        self._count += 1
        value, key = self._told(centre, parent), self._told.key(centre)
        if value is not None or key in self._told.pending:
            return value
        lower, upper = self._bound(centre, width(self._count, self._eta))
        if upper >= self._best:
            self._passed.pop(key, None)
            return None
        self._passed[key] = upper, centre
        return lower

    def passed_over(self) -> list[Point]:
        """The centres for which a bound stands, the largest upper bound first."""
        return [centre for _, centre in sorted(self._passed.values(), key=lambda own: (-own[0], own[1]))]


def width(count: int, eta: float) -> float:
    """sqrt(2 log(pi^2 N^2 / (6 eta))): with it N bounds hold together with a probability of 1 - eta.

    Args:
        count: N, cells so far.
        eta: in (0, 1).
    """
    return math.sqrt(2 * math.log(math.pi**2 * count**2 / (6 * eta)))


def _bound(history: History) -> ConfidenceBound | None:
    """The model's bounds; None where there are too few results, or the fit fails."""
    if len(history.observations) < _FEWEST or not len(history.space):
        return None
    from hpo.models.gp import FitError  # SciPy and torch: loaded when the first model is needed

    try:
        from hpo.models.confidence_bounds import Bounds

        return Bounds(history)
    except FitError:
        return None


def _centres(history: History, count: int, parts: int, appraise: Appraise) -> list[Proposal]:
    """Centres that the next splits need and nobody proposed or told, at most `count`."""
    proposals: list[Proposal] = []
    space = history.space
    for leaf in Partition(space, parts, appraise).wanted():
        if space.key(leaf.centre) in history.taken:
            continue
        note = f"depth {leaf.cell.depth}"
        proposals.append(Proposal(space.from_unit(leaf.centre), Origin.PARTITION, note))
        if len(proposals) == count:
            break
    return proposals
