"""Learning curves of made-up fine-tunes: losses at rungs, with a known end.

The end of a curve is the loss of `benchmarks.problems.qlora`; on its way it falls from that of the untuned
model by an exponential. The families differ in how fast:

    parallel    all alike
    crossing    the lower the learning rate, the slower, whatever they come to
    random      each as it likes, so that no configuration says how fast
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.problems.problem import Array, Columns
from benchmarks.problems.qlora import SPACE, columns_values

UNTUNED = 3.0
SPEED = 8.0  # of the fall, in shares of the full length
ERROR, RUNG_ERROR = 0.01, 0.02  # of the loss at the end, and at a rung, which reads fewer examples


def _parallel(columns: Columns, generator: np.random.Generator) -> Array:
    return np.full(len(columns["learning_rate"]), SPEED)


def _crossing(columns: Columns, generator: np.random.Generator) -> Array:
    rate = np.log10(columns["learning_rate"]) + 0.5 * np.log10(columns["lora_alpha"] / columns["lora_rank"])
    slow: Array = SPEED * 10 ** (0.5 * np.minimum(rate + 3.1, 0.0))
    return slow


def _random(columns: Columns, generator: np.random.Generator) -> Array:
    speeds: Array = SPEED * np.exp(0.4 * generator.standard_normal(len(columns["learning_rate"])))
    return speeds


FAMILIES: Mapping[str, Callable[[Columns, np.random.Generator], Array]] = {
    "parallel": _parallel,
    "crossing": _crossing,
    "random": _random,
}


def curves(family: str, count: int, shares: list[float], seed: int) -> tuple[Array, Array, Array]:
    """Configurations uniform among those that do not fail, and what they measure.

    Returns:
        X count x d; losses count x (rungs + 1), the end last; their standard errors, likewise.
    """
    generator = np.random.default_rng(seed)
    units = generator.random((4 * count, len(SPACE)))
    columns = {
        name: np.array([dimension.from_unit(unit) for unit in units[:, place]])
        for place, (name, dimension) in enumerate(SPACE.items())
    }
    end, _, fails = columns_values(columns)
    kept = np.flatnonzero(~fails)[:count]
    own = {name: column[kept] for name, column in columns.items()}
    speed, end = FAMILIES[family](own, generator), end[kept]
    at = np.array([*shares, 1.0])[:, None]
    left = (np.exp(-speed * at) - np.exp(-speed)) / (1.0 - np.exp(-speed))
    errors = np.where(at < 1, RUNG_ERROR, ERROR) * np.ones(count)
    losses = end + (UNTUNED - end) * left + errors * generator.standard_normal(left.shape)
    X = [
        [dimension.to_unit(own[name][row].item()) for name, dimension in SPACE.items()]
        for row in range(count)
    ]
    return np.array(X), losses.T, errors.T
