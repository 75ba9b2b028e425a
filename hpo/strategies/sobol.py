"""Scrambled Sobol points: spread evenly, each next one in the largest gap."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from pydantic.dataclasses import dataclass

from hpo.config import STRICT
from hpo.history import History, Origin, Proposal, derive_seed
from hpo.space import Point
from hpo.strategies.unused import first_unused

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


@dataclass(frozen=True, config=STRICT)
class Sobol:
    """The scrambled Sobol sequence; has no settings."""

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The next unused points of the sequence."""
        return sobol_proposals(history, count)
