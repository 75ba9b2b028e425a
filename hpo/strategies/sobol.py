"""Scrambled Sobol points: spread evenly, each next one in the largest gap."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

from pydantic.dataclasses import dataclass

from hpo.config import STRICT
from hpo.history import History, Origin, Proposal, derive_seed
from hpo.space import Point
from hpo.strategies.unused import first_unused

Propose = Callable[[History, int], list[Proposal]]

_BLOCK = 64  # points drawn at a time


def sobol_points(dimensions: int, seed: int, start: int) -> Iterator[Point]:
    """The endless scrambled Sobol sequence in [0, 1)^d from its point number `start` on."""
    from scipy.stats import qmc  # takes most of a second to import

    if dimensions == 0:
        yield ()
        return
    engine = qmc.Sobol(dimensions, scramble=True, rng=seed)
    if start:  # 0 overflows inside scipy
        engine.fast_forward(start)
    while True:
        with warnings.catch_warnings():  # balance needs a power of two from 0 on, which nobody asked for
            warnings.simplefilter("ignore", UserWarning)
            block = engine.random(_BLOCK)
        yield from map(tuple, block.tolist())


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


def filled_up(history: History, proposals: list[Proposal], count: int, note: str) -> list[Proposal]:
    """The proposals, and Sobol points with this note where they are fewer than `count`."""
    left = count - len(proposals)
    return proposals + sobol_proposals(history.with_pending(proposals), left, note) if left else proposals


@dataclass(frozen=True, config=STRICT)
class Sobol:
    """The scrambled Sobol sequence; has no settings."""

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The next unused points of the sequence."""
        return sobol_proposals(history, count)
