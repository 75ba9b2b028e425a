"""Asynchronous successive halving, of one objective or several: who goes on at a rung.

References:
    [Li2020] L. Li et al. A system for massively parallel hyperparameter tuning (ASHA). MLSys 2020.
    [Schmucker2021] R. Schmucker et al. Multi-objective asynchronous successive halving. arXiv 2106.12639.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo.pareto import Row, crowding, layers


def goes_on(rows: Sequence[Row], place: int, reduction: int, fewest: int = 0) -> bool:
    """Whether a trial is among the best one in `reduction` at a rung, rounded up [Li2020].

    As long as fewer than `reduction` have reached it there is nothing to tell them apart by, and all go on;
    so do the first `fewest`.

    The better ones are those of earlier non-dominated layers, and in the same layer the less crowded ones
    [Schmucker2021]; of equals those that come first.

    Args:
        rows: n rows of m values to minimise, of all trials that have reached the rung.
        place: of the trial.
    """
    found = layers(rows)
    there = sum(layer < len(rows) for layer in found)
    if there < reduction or there <= fewest:
        return found[place] < len(rows)
    room = math.ceil(there / reduction)
    room -= sum(layer < found[place] for layer in found)
    equals = [index for index, layer in enumerate(found) if layer == found[place]]
    if room <= 0 or room >= len(equals):
        return room > 0
    distance = crowding([rows[index] for index in equals])
    best = sorted(range(len(equals)), key=lambda index: -distance[index])[:room]
    return place in [equals[index] for index in best]
