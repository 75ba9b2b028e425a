"""Designs that fill the space and learn nothing: Sobol points, Latin hypercubes, uniform points."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hpo.models.history import History, Origin, Proposal, derive_seed
from hpo.space.sampling import random_points
from hpo.space.space import Point
from hpo.strategies.initial_design import sobol_proposals
from hpo.strategies.unused import first_unused
from hpo.validation import STRICT


@dataclass(frozen=True, config=STRICT)
class Sobol:
    """The scrambled Sobol sequence; has no settings."""

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The next unused points of the sequence."""
        return sobol_proposals(history, count)


@dataclass(frozen=True, config=STRICT)
class LatinHypercube:
    """Latin hypercubes, one after another.

    Args:
        size: points of one design; best the number of trials of the study.
    """

    size: Annotated[int, Field(ge=2)]

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The next unused points of the designs; trial number k takes point k or a later one."""
        return first_unused(history, self._points(history), count, Origin.LATIN_HYPERCUBE)

    def _points(self, history: History) -> Iterator[Point]:
        if len(history.space) == 0:
            yield ()
            return
        design, skip = divmod(history.asked, self.size)
        while True:
            seed = derive_seed(history.seed, "lhs", design)
            yield from _latin_hypercube(len(history.space), self.size, seed)[skip:]
            design, skip = design + 1, 0


@lru_cache(maxsize=16)  # spreading 100 points takes most of a second, and each call begins within a design
def _latin_hypercube(dimensions: int, size: int, seed: int) -> tuple[Point, ...]:
    from scipy.stats import qmc  # takes most of a second to import

    engine = qmc.LatinHypercube(dimensions, optimization="random-cd", rng=seed)
    return tuple(map(tuple, engine.random(size).tolist()))


@dataclass(frozen=True, config=STRICT)
class Random:
    """Independent uniform points; has no settings."""

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The next unused points; trial number k takes point k or a later one."""
        points = random_points(len(history.space), derive_seed(history.seed, "random"), history.asked)
        return first_unused(history, points, count, Origin.RANDOM)
