"""Latin hypercubes: every slice of every parameter once per design."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hpo.config import STRICT
from hpo.history import History, Origin, Proposal, derive_seed
from hpo.space import Point
from hpo.strategies.unused import first_unused


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
        from scipy.stats import qmc  # takes most of a second to import

        if len(history.space) == 0:
            yield ()
            return
        design, skip = divmod(history.asked, self.size)
        while True:
            seed = derive_seed(history.seed, "lhs", design)
            engine = qmc.LatinHypercube(len(history.space), optimization="random-cd", rng=seed)
            yield from map(tuple, engine.random(self.size)[skip:].tolist())
            design, skip = design + 1, 0
