"""A run of this project's optimiser with a look at what is left to gain before every batch.

`python -m benchmarks.settling.trace SETTINGS` prints its record as one line; the settings are JSON, with
`problem`, `peer` (ours), `seed`, `trials` and `batch`. The run does not end where a rule would end it, so
that all rules judge the same trials.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from benchmarks.peers import peer_version
from benchmarks.problems import Params, Values
from benchmarks.records import Record
from benchmarks.run import fix_seeds
from benchmarks.settling.cases import CASES, Case
from hpo.controller.config import BudgetSettings
from hpo.controller.limits import settled
from hpo.controller.proposer import left_to_gain
from hpo.optimizer import Optimizer
from hpo.study.state import LeftToGain, Study

PATIENCE = 5
RULE = f"budget.settle={PATIENCE}"
LEAST_GAIN = BudgetSettings.least_gain  # where the configuration does not say
Look = Sequence[float] | None  # results, gain and noise; None before there were enough results


def traced(settings: Record) -> Record:
    """The record of a run: what was told, the score and the seconds after each trial, and the looks."""
    began, seed = time.process_time(), settings["seed"]
    fix_seeds(seed)
    case = CASES[settings["problem"]]()
    problem = case.problem
    optimizer = Optimizer(
        {**problem.space, "conditions": problem.conditions},
        dict.fromkeys(problem.objectives, "min"),
        seed=seed,
    )
    chosen: list[dict[str, Any]] = []
    values: list[Values | None] = []
    looks: list[Look] = []
    while len(values) < settings["trials"]:
        look = left_to_gain(optimizer)
        looks.append(astuple(look) if look else None)
        batch = optimizer.ask(min(settings["batch"], settings["trials"] - len(values)))
        for params in batch:
            values.append(problem.evaluate(params))
            tell(optimizer, case, params, values[-1], len(values) - 1)
        chosen += batch
    return {
        **settings,
        "version": peer_version("ours"),
        "params": [[params[name] for name in problem.space] for params in chosen],
        "told": [told(case, row, seed, number) for number, row in enumerate(values)],
        "errors": [case.errors(params) for params in chosen],
        "curve": [rounded(score) for score in problem.curve(values)],
        "seconds": [
            0.0 if row is None else round(case.seconds(params, row), 4)
            for params, row in zip(chosen, values, strict=True)
        ],
        "looks": [[rounded(number) for number in look] if look else None for look in looks],
        "stops": {RULE: settle_stop(looks, settings["batch"], settings["trials"])},
        "cpu_s": round(time.process_time() - began, 1),
    }


def rounded(number: float) -> float:
    """To 6 significant digits."""
    return float(f"{number:.6g}")


def told(case: Case, values: Values | None, seed: int, number: int) -> Values | None:
    """What a trial tells, its noise that of the seed and its number; None where it fails."""
    return None if values is None else case.problem.observe(values, seed, number)


def tell(optimizer: Optimizer, case: Case, params: Params, values: Values | None, number: int) -> None:
    """A result with its standard errors, or a failure."""
    known = told(case, values, optimizer.seed, number)
    if known is None:
        optimizer.tell_failure(params)
    else:
        pairs = zip(known, case.errors(params), strict=True)
        optimizer.tell(params, dict(zip(case.problem.objectives, pairs, strict=True)))


def settle_stop(
    looks: Sequence[Look],
    batch: int,
    trials: int,
    patience: int = PATIENCE,
    least_gain: float = LEAST_GAIN,
) -> int:
    """After how many trials the controller would propose no more.

    Args:
        looks: one before each batch; a batch goes out with its look, so that the rule is asked after it.
        batch: trials that each look was followed by.
        trials: of the whole run, where the rule never ends it.
        patience: `budget.settle`.
        least_gain: `budget.least_gain`.
    """
    study = Study()
    for number, look in enumerate(looks):
        if settled(study, patience, least_gain):
            return number * batch
        if look:
            study.outlooks.append(LeftToGain(int(look[0]), look[1], look[2]))
    return trials


if __name__ == "__main__":
    asked: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(traced(asked)))
