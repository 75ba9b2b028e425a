"""Rules of others that end a study, asked after every batch of a recorded run.

`python -m benchmarks.settling.rules '{"peer": "ax", "trace": {...}}'` prints the record of one peer's rules.

A rule is set up as its documentation has it. Optuna's default wants the scores of a cross-validation:
it is told two, whose error by its own formula is the standard error that the trial told, and 0 where nothing
has any. Ax leaves `min_trials` to its users: it gets that of Optuna; its longer window is of five batches, as
`budget.settle` has them, with the bar at a hundredth.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from benchmarks.peers import Ax, Optuna, Params, peer_version
from benchmarks.problems import Problem, Values
from benchmarks.records import Record
from benchmarks.run import fix_seeds
from benchmarks.settling.cases import CASES, Errors

FEWEST = 20  # trials before anything is judged: Optuna's default


class Rule(Protocol):
    """Says when a study is over."""

    def tell(self, params: Params, values: Values | None, errors: Errors) -> None:
        """What a trial came to; None: it failed."""

    def over(self) -> bool:
        """Whether the study should end here."""


class Terminator:
    """Optuna's terminator, of one objective. TPE stands in the study, and proposes nothing.

    Args:
        evaluators: `regret`, its default: the bound of the regret beside the error of a cross-validation; or
            `emmr`: the expected minimum model regret beside a hundredth of its median over early trials.
    """

    def __init__(self, problem: Problem, evaluators: str, seed: int) -> None:
        from optuna import terminator

        self._peer = Optuna(problem, "tpe", seed, FEWEST)
        warnings.simplefilter("ignore", FutureWarning)
        self._report = terminator.report_cross_validation_scores
        improvement: Any
        if evaluators == "regret":
            improvement = terminator.RegretBoundEvaluator(seed=seed)
            self._terminator = terminator.Terminator(improvement)
        else:
            improvement = terminator.EMMREvaluator(seed=seed)
            self._terminator = terminator.Terminator(
                improvement, terminator.MedianErrorEvaluator(improvement)
            )

    def tell(self, params: Params, values: Values | None, errors: Errors) -> None:
        """The result as if it had been asked for, with two scores of a cross-validation."""
        self._peer.study.enqueue_trial(self._peer.numbered(params))
        [asked] = self._peer.ask(1)
        if values is None:
            self._peer.tell_failure(asked)
            return
        self._report(asked.token, two_scores(values[0], errors[0] or 0.0))
        self._peer.tell(asked, values)

    def over(self) -> bool:
        """Whether the room for improvement is below the error."""
        return bool(self._terminator.should_terminate(self._peer.study))


def two_scores(value: float, error: float) -> list[float]:
    """Scores whose mean is the value; Optuna makes the error sqrt(1/2 + 1) of their deviation."""
    away = error / math.sqrt(1.5)
    return [value - away, value + away]


class Improvement:
    """Ax's `ImprovementGlobalStoppingStrategy`.

    Args:
        settings: those that are not its defaults.
    """

    def __init__(self, problem: Problem, seed: int, **settings: Any) -> None:
        from ax.global_stopping.strategies.improvement import ImprovementGlobalStoppingStrategy

        self._peer = Ax(problem, "", seed, FEWEST)
        self._strategy = ImprovementGlobalStoppingStrategy(min_trials=FEWEST, **settings)

    def tell(self, params: Params, values: Values | None, errors: Errors) -> None:
        """`attach_trial`; the strategy knows no errors."""
        self._peer.attach(params, values)

    def over(self) -> bool:
        """Whether the last trials brought too little."""
        return bool(self._strategy.should_stop_optimization(self._peer.experiment)[0])


Maker = Callable[[Problem, int], Rule]
RULES: Mapping[str, Mapping[str, Maker]] = {  # peer -> rule -> who makes it
    "optuna": {
        "Optuna, regret bound": lambda problem, seed: Terminator(problem, "regret", seed),
        "Optuna, EMMR": lambda problem, seed: Terminator(problem, "emmr", seed),
    },
    "ax": {
        "Ax, 5 trials": lambda problem, seed: Improvement(problem, seed),
        "Ax, 20 trials": lambda problem, seed: Improvement(
            problem, seed, window_size=20, improvement_bar=0.01
        ),
    },
}
PACKAGES = {
    "ours": "ours",
    "optuna": "optuna_tpe",
    "ax": "ax",
}  # whose version, as `benchmarks.peers` names it
OF_ONE_OBJECTIVE = ("optuna",)


def stop(
    rule: Rule, params: Sequence[Params], told: Sequence[Values | None], errors: Sequence[Errors], batch: int
) -> int:
    """After how many trials a rule, asked after every batch, ends a run; all of them if it never does."""
    for number, trial in enumerate(zip(params, told, errors, strict=True), 1):
        rule.tell(*trial)
        if number % batch == 0 and number < len(told) and rule.over():
            return number
    return len(told)


def judged(peer: str, trace: Record) -> Record:
    """The record of a peer's rules on a run."""
    began = time.process_time()
    fix_seeds(trace["seed"])
    problem = CASES[trace["problem"]]().problem
    params = [dict(zip(problem.space, row, strict=True)) for row in trace["params"]]
    told = [None if row is None else tuple(row) for row in trace["told"]]
    stops = {
        name: stop(make(problem, trace["seed"]), params, told, trace["errors"], trace["batch"])
        for name, make in RULES[peer].items()
    }
    kept = {name: trace[name] for name in ("problem", "seed", "trials", "batch")}
    return {
        **kept,
        "peer": peer,
        "version": peer_version(PACKAGES[peer]),
        "stops": stops,
        "cpu_s": round(time.process_time() - began, 1),
    }


if __name__ == "__main__":
    asked: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(judged(asked["peer"], asked["trace"])))
