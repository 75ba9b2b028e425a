"""Learning rates with a cliff: what is learned rises up to an edge, and beyond it all is lost.

Nothing fails: a model that has diverged reports chance level, a value like any other, and the best
configurations lie close to the edge or on it. `CLIFF` has the space of real fine-tunes over ten decades of
the learning rate; in `PRICED` the edge moves with the size of the model, which costs time.
"""

from __future__ import annotations

import numpy as np

from benchmarks.problems.problem import Columns, Dimension, Params, Problem, front_volume, single
from hpo.space.space import Choice, Float, Integer

CLIFF: dict[str, Dimension] = {
    "learning_rate": Float(1e-10, 1e-1, log=True),
    "lora_rank": Integer(2, 512),
    "lora_alpha": Integer(1, 64),
    "lora_dropout": Float(0.0, 0.5),
    "weight_decay": Float(1e-5, 1e-1, log=True),
}
EDGE = -3.0  # log10 of the learning rate x sqrt(alpha / 8)
CHANCE = 0.75
SMALLEST = 0.5 - 0.2 / (1 + 10 ** (-4.0 - EDGE))  # on the edge, at rank 32, dropout 0.1, decay 0.001

PRICED: dict[str, Dimension] = {
    "learning_rate": Float(1e-5, 1.0, log=True),
    "momentum": Float(0.5, 0.99),
    "width": Integer(16, 1024, log=True),
    "depth": Integer(2, 12),
    "batch_size": Choice((16, 32, 64, 128, 256), ordered=True),
}
PRICED_REFERENCE = (0.15, 5.0)
PRICED_LARGEST = 0.16663564995876692  # of `priced_largest`
_PRICED_CHANCE = 0.9


def cliff_values(columns: Columns) -> np.ndarray:
    """The loss, n values."""
    effective = np.log10(columns["learning_rate"]) + 0.5 * np.log10(columns["lora_alpha"] / 8)
    loss = 0.5 - 0.2 / (1 + 10 ** (-4.0 - effective))
    loss += 0.02 * ((np.log2(columns["lora_rank"]) - 5) / 4) ** 2
    loss += 0.05 * ((columns["lora_dropout"] - 0.1) / 0.4) ** 2
    loss += 0.01 * ((np.log10(columns["weight_decay"]) + 3) / 2) ** 2
    return np.where(effective > EDGE, CHANCE, loss)


def cliff() -> Problem:
    """One objective; its smallest value is a closed form."""

    def evaluate(params: Params) -> tuple[float]:
        return (float(cliff_values(single(params))[0]),)

    return Problem(CLIFF, ("loss",), evaluate, (), SMALLEST)


def priced_values(columns: Columns) -> np.ndarray:
    """Error and minutes, n x 2."""
    width, depth = columns["width"].astype(float), columns["depth"].astype(float)
    batch = columns["batch_size"].astype(float)
    effective = np.log10(columns["learning_rate"] / (1 - columns["momentum"]))
    beyond = effective - _edge(width, depth)
    error = _least_error(width, depth, batch) + 0.03 * (beyond + 0.3) ** 2
    return np.column_stack([np.where(beyond > 0, _PRICED_CHANCE, error), _minutes(width, depth, batch)])


def _edge(width: np.ndarray, depth: np.ndarray) -> np.ndarray:
    return 0.3 - 0.6 * np.log10(width / 16) - 0.08 * (depth - 2)


def _least_error(width: np.ndarray, depth: np.ndarray, batch: np.ndarray) -> np.ndarray:
    return 0.04 + 0.6 * width**-0.5 + 0.15 / depth + 0.006 * np.log2(batch / 64) ** 2


def _minutes(width: np.ndarray, depth: np.ndarray, batch: np.ndarray) -> np.ndarray:
    minutes: np.ndarray = 1.0 + width * depth / 600 * (0.4 + 24 / batch)
    return minutes


def priced_largest() -> float:
    """The hypervolume of the true front: at every width, depth and batch some rate has the least error."""
    axes = (np.arange(16, 1025), np.arange(2, 13), np.array([16, 32, 64, 128, 256]))
    width, depth, batch = (axis.ravel().astype(float) for axis in np.meshgrid(*axes, indexing="ij"))
    rows = np.column_stack([_least_error(width, depth, batch), _minutes(width, depth, batch)])
    return front_volume(rows, PRICED_REFERENCE)


def priced() -> Problem:
    """Two objectives."""

    def evaluate(params: Params) -> tuple[float, ...]:
        return tuple(priced_values(single(params))[0].tolist())

    return Problem(PRICED, ("error", "minutes"), evaluate, PRICED_REFERENCE, PRICED_LARGEST)
