"""Strategies side by side on known problems: `python -m benchmarks.optimiser --help`.

After an initial design of 10, batches are asked for and told until the budget ends. The score is taken on the
noiseless values: with several objectives the hypervolume from the problem's own reference point, as a share
of the largest there can be (1 is the true front); with one objective the simple regret.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from botorch.test_functions import Hartmann
from botorch.test_functions.base import BaseTestProblem
from botorch.test_functions.multi_objective import DTLZ2, ZDT1, BraninCurrin, VehicleSafety
from rich.console import Console
from rich.table import Table

from hpo.optimizer import Optimizer
from hpo.pareto import hypervolume

INITIAL = 10
PROBLEMS = {
    "branin_currin": BraninCurrin,
    "dtlz2": lambda: DTLZ2(6, num_objectives=2),
    "zdt1": lambda: ZDT1(8, num_objectives=2),
    "vehicle_safety": VehicleSafety,
    "hartmann6": Hartmann,
}


@dataclass(frozen=True)
class Run:
    """One strategy on one problem from one seed."""

    half: float  # the score after half of the trials
    end: float
    ask_cpu_s: float  # mean CPU seconds of an ask after the initial design


def space_of(problem: BaseTestProblem) -> dict[str, str]:
    """A problem's box as a search space."""
    low, high = problem.bounds.tolist()
    return {f"x{i}": f"interval({a}, {b})" for i, (a, b) in enumerate(zip(low, high, strict=True))}


def score(problem: BaseTestProblem, values: Sequence[Sequence[float]]) -> float:
    """The share of the largest hypervolume, or the simple regret."""
    if len(values[0]) == 1:
        return min(value for (value,) in values) - problem.optimal_value
    return hypervolume(values, problem.ref_point.tolist()) / problem.max_hv


def run(name: str, strategy: str, seed: int, trials: int, batch: int) -> Run:
    """Drive one optimisation to its end."""
    problem = PROBLEMS[name]()
    objectives = [f"y{i}" for i in range(getattr(problem, "num_objectives", 1))]
    settings = {"initial": INITIAL} if strategy == "bo" else {}
    optimizer = Optimizer(space_of(problem), dict.fromkeys(objectives, "min"), strategy, seed, **settings)
    values: list[list[float]] = []
    asks: list[float] = []
    half: float | None = None
    while len(values) < trials:
        started = time.process_time()
        count = INITIAL if not values else batch
        proposed = optimizer.ask(min(count, trials - len(values)))
        if values:
            asks.append(time.process_time() - started)
        for params in proposed:
            point = torch.tensor([list(params.values())], dtype=torch.float64)
            values.append(problem.evaluate_true(point).reshape(-1).tolist())
            optimizer.tell(params, dict(zip(objectives, values[-1], strict=True)))
        if half is None and len(values) >= trials / 2:
            half = score(problem, values)
    end = score(problem, values)
    return Run(end if half is None else half, end, statistics.fmean(asks) if asks else 0.0)


def spread(values: Sequence[float]) -> str:
    """Mean and standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.3f} ±{error:.3f}"


def main() -> None:
    """Run and print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", default="branin_currin,hartmann6", help=f"of {', '.join(PROBLEMS)}")
    parser.add_argument("--strategies", default="bo,sobol,random")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    unknown = sorted(set(options.problems.split(",")) - set(PROBLEMS))
    if unknown:
        parser.error(f"--problems: expected some of {', '.join(PROBLEMS)}, got {', '.join(unknown)}")
    torch.set_num_threads(1)
    table = Table(box=None, pad_edge=False)
    for title in (
        "problem",
        "strategy",
        f"after {options.trials // 2}",
        f"after {options.trials}",
        "CPU s an ask",
    ):
        table.add_column(title)
    console = Console()
    for name in options.problems.split(","):
        for strategy in options.strategies.split(","):
            runs = [run(name, strategy, seed, options.trials, options.batch) for seed in range(options.seeds)]
            row = [spread([one.half for one in runs]), spread([one.end for one in runs])]
            row.append(spread([one.ask_cpu_s for one in runs]))
            table.add_row(name, strategy, *row)
            console.print(f"{name} {strategy}: {row[1]}", style="dim", highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
