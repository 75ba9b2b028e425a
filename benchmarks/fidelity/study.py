"""One study on the simulated cluster, and what it had found after how many GPU-hours."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from benchmarks.records import Record
from hpo.commands.tune import tune
from hpo.pareto import hypervolumes
from hpo.paths import StudyPaths
from hpo.records import TrialSpec
from hpo.study.journal import load_study
from hpo.study.state import Study, TrialState
from jobs.recipes.recorded import load
from jobs.recipes.synthetic import parse

TABLES = Path(__file__).parent.parent / "finetunes" / "tables"
HOUR_S = 3600
SITE = (
    *("experiment=none", "cluster=simulated", "cluster.nodes=1", "report.automatic=false"),
    *("trainer.checkpoint_every_s=600", "batch.refill=1"),
)
_LOSS = "objectives=loss"


@dataclass(frozen=True)
class Family:
    """Trials of an hour on average.

    Args:
        overrides: what they are.
        reference: loss, and seconds in units of the mean trial: beyond every sensible configuration.
        true_values: loss and seconds, in that unit, of a recipe, without noise where it is made up.
    """

    overrides: tuple[str, ...]
    reference: tuple[float, float]
    true_values: Callable[[Mapping[str, Any]], tuple[float, float]]


def _synthetic(*more: str) -> Family:
    def true_values(recipe: Mapping[str, Any]) -> tuple[float, float]:
        known = parse(recipe)
        return known.eval_loss(), 1.0 + known.size

    pace = ("trainer=synthetic", f"trainer.seconds={HOUR_S}", "trainer.step_seconds=60", "trainer.sigma=0.05")
    return Family((*pace, *more), (1.3, 1.6), true_values)


def _recorded(name: str, *more: str) -> Family:
    """Over all parameters of a recorded table; the reference is the untuned loss, and 1.6 as above."""
    path = TABLES / f"{name}.jsonl.gz"
    table = load(path)
    ends = [
        trial.measured[-1].metrics["train_cpu_seconds"].value for trial in table.trials if not trial.failure
    ]
    scale = HOUR_S / fmean(ends)

    def true_values(recipe: Mapping[str, Any]) -> tuple[float, float]:
        last = table.nearest(recipe["trainer"]["parameters"]).measured[-1].metrics
        return last["eval_loss"].value, last["train_cpu_seconds"].value * scale / HOUR_S

    pace = ("trainer=table", f"trainer.path={path}", f"trainer.seconds_scale={scale:.4f}", "space=none")
    space = [f"space.{key}={expression(own)}" for key, own in table.parameters.items()]
    return Family((*pace, *space, *more), (table.untuned["eval_loss"].value, 1.6), true_values)


def expression(described: Mapping[str, Any]) -> str:
    """A parameter of a table as a search space has it."""
    if "values" in described:
        return f"choice({', '.join(map(str, described['values']))})"
    ends = f"{described['low']}, {described['high']}"
    if described["type"] == "integer":
        return f"range({ends}, step={described['step']})"
    return f"tag(log, interval({ends}))" if described["log"] else f"interval({ends})"


FAMILIES: dict[str, Callable[[], Family]] = {
    "parallel": lambda: _synthetic("trainer.slow_start=false"),
    "crossing": lambda: _synthetic("trainer.slow_start=true"),
    "parallel, loss alone": lambda: _synthetic("trainer.slow_start=false", _LOSS),
    "crossing, loss alone": lambda: _synthetic("trainer.slow_start=true", _LOSS),
    "demo": lambda: _recorded("demo"),
    "instructions": lambda: _recorded("instructions"),
    "demo, loss alone": lambda: _recorded("demo", _LOSS),
    "instructions, loss alone": lambda: _recorded("instructions", _LOSS),
}
POLICIES = {
    "full": ("strategy=bo", "fidelity.stopping=none"),
    "gain": ("strategy=bo", "fidelity.stopping=gain"),
    "asha": ("strategy=bo", "fidelity.stopping=asha"),
    "random asha": ("strategy=random", "fidelity.stopping=asha"),
}
MOST_TRIALS = 400  # of a study that ends by its GPU-hours


def overrides(settings: Record, family: Family, folder: Path) -> list[str]:
    """Of the study of a run."""
    budget = settings["trials"] if settings["policy"] == "full" else MOST_TRIALS
    return [
        *SITE,
        *family.overrides,
        *POLICIES[settings["policy"]],
        *settings.get("more", "").split(),
        *(f"cluster.gpus_per_node={settings['gpus']}", f"batch.size={settings['gpus']}"),
        *(f"budget.trials={budget}", f"budget.gpu_hours={settings['hours'] or 'null'}"),
        *(f"seed={settings['seed']}", f"cluster.simulation_seed={settings['seed']}"),
        *(f"study.root={folder}", "study.name=study"),
    ]


def run(settings: Record) -> Record:
    """The study to its end; the true hypervolume of its completed trials by the GPU-hours used until then."""
    began, family = time.process_time(), FAMILIES[settings["family"]]()
    with tempfile.TemporaryDirectory() as folder:
        assert tune(overrides(settings, family, Path(folder)), None, Console(quiet=True)) == 0
        paths = StudyPaths(Path(folder) / "study")
        study = load_study(paths.journal)
        completed = sorted(study.in_state(TrialState.COMPLETED), key=lambda trial: trial.ended_at)
        objectives = len(study.objectives)
        recipes = [TrialSpec.read(paths.trial(trial.id).spec).recipe for trial in completed]
        rows = [family.true_values(recipe)[:objectives] for recipe in recipes]
        hours = [gpu_hours(study, trial.ended_at) for trial in completed]
    return {
        **settings,
        "hours_used": [round(own, 4) for own in hours],
        "volumes": [round(own, 6) for own in hypervolumes(rows, family.reference[:objectives])],
        "trials_begun": len(study.trials),
        "stopped": len(study.in_state(TrialState.STOPPED)),
        "cpu_s": round(time.process_time() - began, 1),
    }


def gpu_hours(study: Study, until: str) -> float:
    """Used by all attempts until a moment, those at work then included."""
    seconds = 0.0
    for end in study.ends:
        left = (datetime.fromisoformat(end.at) - datetime.fromisoformat(until)).total_seconds()
        seconds += min(max(end.seconds - max(left, 0.0), 0.0), end.seconds) * max(1, end.gpus)
    return seconds / HOUR_S


def main() -> None:
    """Run what the first argument says as JSON, and print the record."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(run(settings)))


if __name__ == "__main__":
    main()
