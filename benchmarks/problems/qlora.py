"""A made-up QLoRA fine-tune: seven hyperparameters of every kind, two objectives, noise, and failures.

The loss falls with the capacity of the adapter (rank, target modules) by a power law, and is a bowl in the
logarithm of an effective learning rate, which rises with alpha / rank and falls with the root of the batch:
learning rate, alpha, rank and batch act together. Much capacity overfits without dropout, and few bits cost
less where the adapter is large. The time is skewed: small batches, quantisation and capacity multiply. Two
regions fail: out of memory (unquantised, large batch, many modules, large rank) and divergence (a learning
rate too high for alpha / rank), together about 15% of the volume; the front runs along the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.problems.problem import (
    Columns,
    Dimension,
    Params,
    Problem,
    Values,
    looked_up,
    relative_noise,
    single,
)
from hpo.pareto import front, hypervolume
from hpo.space.space import Choice, Float, Integer

MODULES = ("qv", "attention", "mlp", "all")
BITS = ("nf4", "int8", "none")
BATCHES = (8, 16, 32, 64, 128)
SPACE: dict[str, Dimension] = {
    "learning_rate": Float(1e-5, 5e-3, log=True),
    "lora_rank": Integer(4, 64, step=4),
    "lora_alpha": Integer(8, 128, step=8),
    "lora_dropout": Float(0.0, 0.2),
    "target_modules": Choice(MODULES),
    "quantisation": Choice(BITS),
    "batch_size": Choice(BATCHES, ordered=True),
}
OBJECTIVES = ("eval_loss", "train_seconds")
NOISE = (0.01, 0.03)
REFERENCE = (1.1, 1500.0)
LARGEST = 291.9884542901477  # of `compute_largest`

_CAPACITY = {"qv": 0.25, "attention": 0.45, "mlp": 0.7, "all": 1.0}
_MEMORY_GB = {"nf4": 6.0, "int8": 12.0, "none": 27.0}
_SLOWER = {"nf4": 1.2, "int8": 1.1, "none": 1.0}
_ROUNDING = {"nf4": 0.04, "int8": 0.015, "none": 0.0}
_CARD_GB = 44.0
_DIVERGES = -2.25  # log10 of the learning rate x sqrt(alpha / rank)
_BEST_RATE = -3.1  # log10 of the effective learning rate


def columns_values(columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss, seconds and whether the trial fails, noiseless.

    Args:
        columns: name -> n values; the names of `SPACE`.

    Returns:
        Three vectors of length n.
    """
    rate, batch = np.log10(columns["learning_rate"]), columns["batch_size"].astype(float)
    capacity = looked_up(_CAPACITY, columns["target_modules"])
    size = capacity * columns["lora_rank"] / 64  # of the adapter, 0 to 1
    strength = 0.5 * np.log10(columns["lora_alpha"] / columns["lora_rank"])
    effective = rate + strength - 0.5 * np.log10(batch / 16)
    low = np.minimum(effective - _BEST_RATE, 0.0)
    high = np.maximum(effective - _BEST_RATE, 0.0)
    loss = 0.8 - 0.04 * capacity + 0.035 * size**-0.5 + 0.3 * low**2 + 0.6 * high**2
    loss += 0.12 * size * (1 - columns["lora_dropout"] / 0.2) ** 2 + 0.6 * columns["lora_dropout"] ** 2
    loss += looked_up(_ROUNDING, columns["quantisation"]) * (1.5 - size)
    loss += 0.02 * np.log2(batch / 16) ** 2  # a fixed number of tokens: large batches take few steps
    seconds = 260 * looked_up(_SLOWER, columns["quantisation"]) * (0.6 + 24 / batch)
    seconds *= (1 + 0.5 * capacity) * np.exp(0.8 * size)
    memory = looked_up(_MEMORY_GB, columns["quantisation"]) + 0.18 * batch * (0.4 + capacity) + 10 * size
    return loss, seconds, (memory > _CARD_GB) | (rate + strength > _DIVERGES)


def evaluate(params: Params) -> Values | None:
    """The noiseless objectives of one configuration; None where it fails."""
    loss, seconds, fails = columns_values(single(params))
    return None if fails[0] else (float(loss[0]), float(seconds[0]))


def qlora() -> Problem:
    """Loss and seconds."""
    return Problem(SPACE, OBJECTIVES, evaluate, REFERENCE, LARGEST, relative_noise(*NOISE))


def compute_largest() -> float:
    """The hypervolume of the true front, which `LARGEST` keeps: `python -m benchmarks.problems.qlora`.

    The seconds do not depend on learning rate and dropout, and the loss is a sum of a part with each; so for
    every combination of the rest both parts are minimised on a fine grid of their own, in turn.
    """
    rates = np.geomspace(1e-5, 5e-3, 2001)
    dropouts = np.linspace(0, 0.2, 401)
    stepped = {name: dimension for name, dimension in SPACE.items() if dimension.levels}
    grids = [[dimension.level(i) for i in range(dimension.levels or 0)] for dimension in stepped.values()]
    rows: list[tuple[float, float]] = []
    for combination in itertools.product(*grids):
        fixed = dict(zip(stepped, combination, strict=True))
        dropout = dropouts[np.argmin(_over(fixed, learning_rate=1e-5, lora_dropout=dropouts)[0])]
        loss, seconds, fails = _over(fixed, learning_rate=rates, lora_dropout=dropout)
        if not fails.all():
            rows.append((float(loss[~fails].min()), float(seconds[0])))
    return hypervolume([rows[i] for i in front(rows)], REFERENCE)


def _over(fixed: Mapping[str, Any], **varying: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = max(np.size(value) for value in varying.values())
    return columns_values(
        {name: np.broadcast_to(value, (count,)) for name, value in {**fixed, **varying}.items()}
    )


if __name__ == "__main__":
    print(compute_largest())
