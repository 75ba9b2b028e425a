"""A made-up pretraining run: seven parameters of every kind, two objectives, noise, and failures.

Unlike `benchmarks.problems.qlora` the number format and the way to split the model decide what fits: memory
falls with them and time rises, 8-bit floats diverge at lower learning rates, and the model's own size is a
product of two integers. About a quarter of the volume fails.
"""

from __future__ import annotations

import numpy as np

from benchmarks.problems.problem import (
    Columns,
    Dimension,
    Params,
    Problem,
    Values,
    front_volume,
    looked_up,
    relative_noise,
    single,
)
from hpo.space.space import Choice, Float, Integer

FORMATS = ("fp32", "bf16", "fp8")
SPLITS = ("none", "tensor", "pipeline")
SPACE: dict[str, Dimension] = {
    "learning_rate": Float(1e-6, 1e-2, log=True),
    "warmup": Float(0.0, 0.3),
    "depth": Integer(4, 32, step=2),
    "width": Integer(128, 1024, step=64),
    "number_format": Choice(FORMATS),
    "split": Choice(SPLITS),
    "micro_batch": Integer(1, 64, log=True),
}
REFERENCE = (2.6, 8.0)
LARGEST = 1.863535014346213  # of `largest`

_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp8": 1.0}
_SPEED = {"fp32": 2.2, "bf16": 1.0, "fp8": 0.7}
_WORSE = {"fp32": 0.0, "bf16": 0.01, "fp8": 0.06}
_LIMIT = {"fp32": -2.3, "bf16": -2.5, "fp8": -3.2}  # log10 of the learning rate that diverges
_PARTS = {"none": 1.0, "tensor": 2.0, "pipeline": 3.0}
_SLOWER = {"none": 1.0, "tensor": 1.2, "pipeline": 1.5}
_CARD_GB = 24.0


def _size(columns: Columns) -> np.ndarray:
    """Of the model, 0 to 1."""
    size: np.ndarray = columns["depth"] * (columns["width"] / 1024.0) ** 2 / 32
    return size


def _best_rate(columns: Columns) -> np.ndarray:
    rate: np.ndarray = -2.7 - 0.8 * np.log10(columns["width"] / 128) + 0.25 * np.log10(columns["micro_batch"])
    return rate


def _least_loss(columns: Columns) -> np.ndarray:
    """At the best learning rate and warm-up."""
    loss: np.ndarray = 2.0 + 0.2 * _size(columns) ** -0.25 + looked_up(_WORSE, columns["number_format"])
    loss += 0.01 * np.log2(columns["micro_batch"] / 8) ** 2
    return loss


def _hours(columns: Columns) -> np.ndarray:
    pace = looked_up(_SPEED, columns["number_format"]) * looked_up(_SLOWER, columns["split"])
    hours: np.ndarray = (0.6 + 14 * _size(columns)) * pace * (1 + 4 / columns["micro_batch"])
    return hours


def _too_large(columns: Columns) -> np.ndarray:
    width = looked_up(_BYTES, columns["number_format"])
    weights = 16 * _size(columns) * width / 2
    passing = columns["micro_batch"] * columns["width"] * columns["depth"] / (1024 * 32) * width
    return (weights + passing) / looked_up(_PARTS, columns["split"]) > _CARD_GB


def columns_values(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Loss and hours (n x 2), and whether the trial fails (n); noiseless."""
    rate = np.log10(columns["learning_rate"])
    away = rate - _best_rate(columns)
    loss = _least_loss(columns) + np.where(away > 0, 0.5, 0.25) * away**2
    loss += 2.0 * (columns["warmup"] - 0.1 - 0.1 * _size(columns)) ** 2
    fails = _too_large(columns) | (rate > looked_up(_LIMIT, columns["number_format"]))
    return np.column_stack([loss, _hours(columns)]), fails


def largest() -> float:
    """The hypervolume of the true front: everything else at the best learning rate that works."""
    axes = [
        [dimension.level(i) for i in range(dimension.levels or 0)] for dimension in list(SPACE.values())[2:]
    ]
    grid = np.meshgrid(*(np.arange(len(axis)) for axis in axes), indexing="ij")
    columns = {
        name: np.array(axis)[index.ravel()]
        for name, axis, index in zip(list(SPACE)[2:], axes, grid, strict=True)
    }
    limits = looked_up(_LIMIT, columns["number_format"])
    columns["learning_rate"] = 10 ** np.minimum(_best_rate(columns), limits - 1e-9)
    columns["warmup"] = 0.1 + 0.1 * _size(columns)
    values, fails = columns_values(columns)
    return front_volume(values[~fails], REFERENCE)


def pretraining() -> Problem:
    """Loss and hours."""

    def evaluate(params: Params) -> Values | None:
        values, fails = columns_values(single(params))
        return None if fails[0] else tuple(values[0].tolist())

    return Problem(SPACE, ("loss", "hours"), evaluate, REFERENCE, LARGEST, relative_noise(0.01, 0.03))
