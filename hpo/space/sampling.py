"""Endless sequences of points of the unit cube, each a function of its seed and its number alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from hpo.space.space import Point

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


def random_points(dimensions: int, seed: int, start: int) -> Iterator[Point]:
    """Endless uniform points in [0, 1)^d; point k depends on the seed and k alone."""
    number = start
    while True:
        yield tuple(np.random.default_rng([seed, number]).random(dimensions).tolist())
        number += 1
