"""How well the models foretell recorded trainings that they have not seen: `python -m benchmarks.left_out`.

Each trial of five studies is left out once (its model's scales did see it): Q² is 1 for perfect predictions
and 0 for no better than the mean, coverage the share within the 95% interval. Two are tables of real
trainings, 50 rows of each; three are published studies at demo scale, real fine-tunes, of
`benchmarks/results/published.jsonl`. With `--checkout DIR` another commit of this project stands beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.problems import make
from benchmarks.records import RESULTS, ROOT, Record, commit_of, in_process, read_records
from benchmarks.table import rows_of

ROWS = 50
# recorded study -> its space; the tables have their own
PUBLISHED = {"lora_pareto_4": "rank_alpha_rate", "lora_pareto_1": "rank_alpha", "partition_soo": "partition"}
STUDIES = ("digits", "trees", *PUBLISHED)
OBJECTIVES = ("eval_loss", "train_seconds")

Trial = tuple[dict[str, Any], dict[str, Any]]


def of_table(name: str) -> tuple[dict[str, Any], list[Trial]]:
    """The space of a table, and trials at random points of it."""
    problem = make(name)
    generator = np.random.default_rng(0)
    trials: list[Trial] = []
    while len(trials) < ROWS:
        units = generator.random(len(problem.space))
        params = {
            key: own.from_unit(float(unit))
            for (key, own), unit in zip(problem.space.items(), units, strict=True)
        }
        values = problem.evaluate(params)
        if values is not None:
            told = problem.observe(values, 0, len(trials))
            trials.append((params, dict(zip(problem.objectives, told, strict=True))))
    return {**problem.space, "conditions": problem.conditions}, trials


def of_study(name: str) -> tuple[dict[str, Any], list[Trial]]:
    """The space of a published study, and its trials; standard errors are told as the study told them."""
    space = yaml.safe_load((ROOT / "conf" / "space" / f"{PUBLISHED[name]}.yaml").read_text(encoding="utf-8"))
    record = next(own for own in read_records(RESULTS / "published.jsonl") if own["experiment"] == name)
    arms = [trial for arm in record["arms"].values() for trial in arm["trials"]]
    return space, [
        (own["params"], {key: tuple(own["metrics"][key]) for key in OBJECTIVES})
        for own in (*record["pilot"], *arms)
        if all(key in own["metrics"] for key in OBJECTIVES)
    ]


def measure(study: str) -> Record:
    """Q² and coverage of every objective, by the `hpo` that is imported."""
    from hpo.optimizer import Optimizer

    space, trials = of_study(study) if study in PUBLISHED else of_table(study)
    optimizer = Optimizer(space, dict.fromkeys(trials[0][1], "min"))
    for params, values in trials:
        optimizer.tell(params, values)
    checks = optimizer.diagnostics()
    return {
        "trials": len(trials),
        "q2": {name: round(own.q2, 3) for name, own in checks.items()},
        "coverage": {name: round(own.coverage, 3) for name, own in checks.items()},
    }


def rows(checkouts: Sequence[Path]) -> Iterator[list[str]]:
    """The table's rows: study, objective, trials, then Q² and coverage by each checkout."""
    for study in STUDIES:
        records = [in_process("benchmarks.left_out", {"study": study}, 600.0, each) for each in checkouts]
        if failed := [own["error"] for own in records if "error" in own]:
            raise RuntimeError(f"{study}: {failed[0]}")
        for name in records[0]["q2"]:
            figures = [f"{own['q2'][name]:.2f} / {own['coverage'][name]:.0%}" for own in records]
            yield [study, name, str(records[0]["trials"]), *figures]


def main() -> None:
    """Print the table."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--checkout", type=Path, help="another commit of this project")
    checkouts = [ROOT, *filter(None, [own.parse_args().checkout])]
    head = ["study", "objective", "trials", *(commit_of(each) or str(each) for each in checkouts)]
    print(rows_of(head, rows(checkouts), words=2))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        print(json.dumps(measure(**json.loads(sys.argv[1]))))
    else:
        main()
