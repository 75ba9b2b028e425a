"""The problems: functions with a known optimum, and the recorded fine-tunes, whose best trial is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botorch.test_functions.synthetic import Branin

from benchmarks.fidelity.study import FAMILIES, TABLES, expression
from benchmarks.problems import Params, Problem, Values, make
from benchmarks.problems.library import of_library
from hpo.pareto import front, hypervolume
from hpo.space.space import parse_space
from jobs.recipes.recorded import load

Errors = tuple[float | None, ...]


@dataclass(frozen=True)
class Case:
    """A problem, and what a trial takes.

    Args:
        errors: the standard errors that are told with the values, None where one is unknown.
        seconds: of a trial, from its configuration and noiseless values; a failed one takes none.
    """

    problem: Problem
    errors: Callable[[Params], Errors]
    seconds: Callable[[Params, Values], float]


def of_function(problem: Problem, seconds: Callable[[Params, Values], float] | None = None) -> Case:
    """Nobody knows the errors of what a function tells; its trials take a second each, where not given."""
    unknown: Errors = (None,) * len(problem.objectives)
    return Case(problem, lambda params: unknown, seconds or (lambda params, values: 1.0))


def recorded(name: str, *, timed: bool) -> Case:
    """A table of fine-tunes: a configuration has loss and seconds of the nearest one, without any noise.

    Args:
        name: of the table.
        timed: whether seconds, in units of the mean trial, are the second objective.
    """
    family, table = FAMILIES[name](), load(TABLES / f"{name}.jsonl.gz")
    objectives = ("eval_loss", "train_cpu_seconds")[: 1 + timed]

    def both(params: Params) -> Values:
        return family.true_values({"trainer": {"parameters": params}})

    rows = [both(trial.params)[: len(objectives)] for trial in table.trials]
    reference = family.reference if timed else ()
    best = hypervolume([rows[i] for i in front(rows)], reference) if reference else min(rows)[0]

    def errors(params: Params) -> Errors:
        loss = table.nearest(params).measured[-1].metrics["eval_loss"]
        return (loss.standard_error, None)[: len(objectives)]

    described: Mapping[str, Any] = {key: expression(own) for key, own in table.parameters.items()}
    space = parse_space(described).dimensions
    problem = Problem(space, objectives, lambda params: both(params)[: len(objectives)], reference, best)
    return Case(problem, errors, lambda params, values: both(params)[1])


CASES: dict[str, Callable[[], Case]] = {
    "branin": lambda: of_function(of_library(Branin())),
    "hartmann6": lambda: of_function(make("hartmann6")),
    "levy4": lambda: of_function(make("levy4")),
    "demo, loss alone": lambda: recorded("demo", timed=False),
    "instructions, loss alone": lambda: recorded("instructions", timed=False),
    "branin_currin": lambda: of_function(make("branin_currin")),
    "zdt1": lambda: of_function(make("zdt1")),
    "qlora": lambda: of_function(make("qlora"), lambda params, values: values[1]),
    "demo": lambda: recorded("demo", timed=True),
    "instructions": lambda: recorded("instructions", timed=True),
}
