"""What is tried before anything has been learned, and after: Sobol points, and fronts of earlier studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hpo.errors import FitError
from hpo.models.history import History, Origin, Proposal, derive_seed
from hpo.pareto import front
from hpo.space.sampling import sobol_points
from hpo.strategies.unused import first_unused

_FEWEST = 2  # results that a model needs
Propose = Callable[[History, int], list[Proposal]]
ProposeWithNote = Callable[[History, int, str], list[Proposal]]


def sobol_proposals(history: History, count: int, note: str = "") -> list[Proposal]:
    """The next unused points of the study's Sobol sequence; trial number k takes point k or a later one."""
    points = sobol_points(len(history.space), derive_seed(history.seed, "sobol"), history.asked)
    return first_unused(history, points, count, Origin.SOBOL, note)


def after_design(
    history: History, size: int, count: int, design: Propose, informed: Propose
) -> list[Proposal]:
    """What is left of an initial design of `size` trials, then what is learned from it."""
    left = min(size - history.asked, count)
    if left <= 0:
        return informed(history, count)
    first = design(history, left)
    if left == count:
        return first
    return first + informed(history.with_pending(first), count - left)


def with_model(history: History, count: int, informed: Propose, without: ProposeWithNote) -> list[Proposal]:
    """What a model proposes, or where none can be had what goes on `without` one and says why.

    The one place where a failure of a fit becomes a fallback, whenever in `informed` it comes.
    """
    results = len(history.observations)
    if results < _FEWEST or not len(history.space):
        return without(history, count, f"no model yet: results {results}, needed {_FEWEST}")
    try:
        return informed(history, count)
    except FitError as error:
        return without(history, count, f"the fit failed: {error}")


def filled_up(history: History, proposals: list[Proposal], count: int, note: str) -> list[Proposal]:
    """The proposals, and Sobol points with this note where they are fewer than `count`."""
    left = count - len(proposals)
    return proposals + sobol_proposals(history.with_pending(proposals), left, note) if left else proposals


def proven(history: History, count: int, of: int) -> list[Proposal]:
    """Configurations that were on the fronts of earlier studies, spread along them.

    Args:
        history: with related studies.
        count: how many are wanted; fewer where the fronts have no more.
        of: how many are proposed in all, however many at a time.
    """
    points = [
        study[index].point
        for study in history.related
        for index in _spread([own.values for own in study], of)
    ]
    return first_unused(history, points, count, Origin.RELATED, "front of an earlier study", remaining=False)


def _spread(rows: Sequence[tuple[float, ...]], count: int) -> list[int]:
    """Members of the front far from each other: the middle one, then always the farthest from those taken."""
    from hpo.models.distances import furthest_first

    best = front(rows)
    Y = np.array([rows[index] for index in best])
    span = np.ptp(Y, axis=0)
    Y = (Y - Y.min(0)) / np.where(span > 0, span, 1.0)
    numbers = np.zeros(Y.shape[1], dtype=bool)
    taken = furthest_first(Y, min(count, len(best)), numbers, first=int((Y**2).sum(1).argmin()))
    return [best[index] for index in dict.fromkeys(taken)]
