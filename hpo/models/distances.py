"""Distances between points of the unit cube, of which some coordinates are unordered choices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def distances(X: Array, Z: Array, hamming: Flags) -> Array:
    """D_j(x, z) for every pair, n x p x d: squared differences, of choices 0 or 1 (the Hamming distance)."""
    difference = X[:, None, :] - Z[None, :, :]
    squared = difference**2
    if hamming.any():
        squared[..., hamming] = difference[..., hamming] != 0
    return squared


def furthest_first(X: Array, count: int, hamming: Flags, first: int = 0) -> list[int]:
    """The numbers of `count` rows of X (n x d), from `first` on each the furthest from those before."""
    chosen, nearest = [first], np.full(len(X), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, distances(X, X[chosen[-1:]], hamming).sum(-1)[:, 0])
        chosen.append(int(nearest.argmax()))
    return chosen
