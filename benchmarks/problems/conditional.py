"""Spaces whose parameters depend on each other.

Only this project's optimiser is given the conditions; the others get the flat space and inactive parameters
change nothing, which is how their users would do it with a fixed space.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.problems.problem import Dimension, Params, Problem, Values, front_volume
from hpo.space.space import Choice, Float, Integer

OPTIMISERS: dict[str, Dimension] = {
    "optimiser": Choice(("sgd", "adam", "lion")),
    "learning_rate": Float(1e-5, 1.0, log=True),
    "weight_decay": Float(1e-6, 1e-1, log=True),
    "momentum": Float(0.0, 0.99),
    "nesterov": Choice(("yes", "no")),
    "beta2": Float(0.9, 0.9999),
    "schedule": Choice(("constant", "cosine")),
    "warmup": Float(0.0, 0.3),
}
_OPTIMISERS_IF = {
    "momentum": "optimiser == 'sgd'",
    "nesterov": "optimiser == 'sgd'",
    "beta2": "optimiser == 'adam'",
    "warmup": "schedule == 'cosine'",
}
SMALLEST = 0.3  # adam at 0.001 and beta2 0.98, cosine with warm-up 0.1, decay 0.0001

ADAPTERS: dict[str, Dimension] = {
    "method": Choice(("lora", "prefix", "layers")),
    "rank": Integer(1, 128, log=True),
    "modules": Choice(("qv", "all")),
    "tokens": Integer(1, 512, log=True),
    "layers": Integer(1, 32),
    "bits": Choice((4, 8, 16), ordered=True),
    "learning_rate": Float(1e-5, 1e-1, log=True),
}
_ADAPTERS_IF = {
    "rank": "method == 'lora'",
    "modules": "method == 'lora'",
    "tokens": "method == 'prefix'",
    "layers": "method == 'layers'",
}
ADAPTERS_REFERENCE = (0.8, 18.0)
ADAPTERS_LARGEST = 1.0224838972747226  # of `adapters_largest`
_FACTOR = {"lora": 1.0, "prefix": 1.25, "layers": 0.85}
_RATE = {"lora": -3.5, "prefix": -2.0, "layers": -4.5}  # log10 of the best
_ROUNDING = {4: 0.04, 8: 0.012, 16: 0.0}
_GB = {4: 5.0, 8: 8.0, 16: 14.0}


def optimisers() -> Problem:
    """One objective, eight parameters of which five or six are active."""

    def evaluate(params: Params) -> Values:
        loss = _of_optimiser(params) + 0.01 * (math.log10(float(params["weight_decay"])) + 4) ** 2
        if params["schedule"] == "constant":
            return (loss + 0.04,)
        return (loss + 0.5 * (float(params["warmup"]) - 0.1) ** 2,)

    return Problem(OPTIMISERS, ("loss",), evaluate, (), SMALLEST, conditions=_OPTIMISERS_IF)


def _of_optimiser(params: Params) -> float:
    rate = math.log10(float(params["learning_rate"]))
    if params["optimiser"] == "sgd":
        best = math.log10(0.3 * (1 - float(params["momentum"])))
        return 0.33 + 0.05 * (rate - best) ** 2 + (0.02 if params["nesterov"] == "no" else 0.0)
    if params["optimiser"] == "adam":
        return SMALLEST + 0.08 * (rate + 3) ** 2 + 15 * (float(params["beta2"]) - 0.98) ** 2
    return 0.31 + 0.12 * (rate + 4) ** 2


def adapters() -> Problem:
    """Loss and memory of three ways to tune a model, each with parameters of its own."""

    def evaluate(params: Params) -> Values:
        loss, memory = _least(params)
        away = math.log10(float(params["learning_rate"])) - _RATE[str(params["method"])]
        return loss + 0.06 * away**2, memory

    names = ("loss", "memory_gb")
    return Problem(ADAPTERS, names, evaluate, ADAPTERS_REFERENCE, ADAPTERS_LARGEST, conditions=_ADAPTERS_IF)


def _least(params: Params) -> Values:
    """The loss at the best learning rate, and the memory."""
    method, bits = str(params["method"]), int(params["bits"])
    if method == "lora":
        size = float(params["rank"]) * (3.5 if params["modules"] == "all" else 1.0)
    else:
        size = 0.2 * float(params["tokens"]) if method == "prefix" else 20.0 * float(params["layers"])
    loss = 0.6 + 0.6 * _FACTOR[method] * (1 + size) ** -0.35 + _ROUNDING[bits]
    memory = _GB[bits] + (0.02 * float(params["tokens"]) if method == "prefix" else 0.03 * size)
    return loss, memory


def adapters_largest() -> float:
    """The hypervolume of the true front: every configuration at its best learning rate."""
    rows = []
    for bits in (4, 8, 16):
        ways: list[dict[str, float | int | str]] = [
            {"method": "lora", "rank": rank, "modules": modules}
            for rank in range(1, 129)
            for modules in ("qv", "all")
        ]
        ways += [{"method": "prefix", "tokens": tokens} for tokens in range(1, 513)]
        ways += [{"method": "layers", "layers": layers} for layers in range(1, 33)]
        rows += [_least({**way, "bits": bits}) for way in ways]
    return front_volume(np.array(rows), ADAPTERS_REFERENCE)
