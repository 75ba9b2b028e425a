"""Independent uniform points."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic.dataclasses import dataclass

from hpo.config import STRICT
from hpo.history import History, Origin, Proposal, derive_seed
from hpo.space import Point
from hpo.strategies.unused import first_unused


def random_points(dimensions: int, seed: int, start: int) -> Iterator[Point]:
    """Endless uniform points in [0, 1)^d; point k depends on the seed and k alone."""
    number = start
    while True:
        yield tuple(np.random.default_rng([seed, number]).random(dimensions).tolist())
        number += 1


@dataclass(frozen=True, config=STRICT)
class Random:
    """Independent uniform points; has no settings."""

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The next unused points; trial number k takes point k or a later one."""
        points = random_points(len(history.space), derive_seed(history.seed, "random"), history.asked)
        return first_unused(history, points, count, Origin.RANDOM)
