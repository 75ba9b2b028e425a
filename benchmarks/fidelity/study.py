"""One study on the simulated cluster, and what it had found after how many GPU-hours."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.records import Record
from hpo.commands.tune import tune
from hpo.pareto import hypervolumes
from hpo.paths import StudyPaths
from hpo.records import TrialSpec
from hpo.study.journal import load_study
from hpo.study.state import Study, TrialState
from jobs.recipes.synthetic import parse

REFERENCE = (1.3, 1.6)  # loss, and seconds in units of the mean trial: beyond every sensible configuration
HOUR_S = 3600
SITE = (
    *("experiment=none", "cluster=simulated", "cluster.nodes=1", "report.automatic=false"),
    *("trainer=synthetic", f"trainer.seconds={HOUR_S}", "trainer.step_seconds=60", "trainer.sigma=0.05"),
    *("trainer.checkpoint_every_s=600", "batch.refill=1"),
)
_PARALLEL, _CROSSING, _LOSS = "trainer.slow_start=false", "trainer.slow_start=true", "objectives=loss"
FAMILIES: dict[str, tuple[str, ...]] = {
    "parallel": (_PARALLEL,),
    "crossing": (_CROSSING,),
    "parallel, loss alone": (_PARALLEL, _LOSS),
    "crossing, loss alone": (_CROSSING, _LOSS),
}
POLICIES = {
    "full": ("strategy=bo", "fidelity.stopping=none"),
    "gain": ("strategy=bo", "fidelity.stopping=gain"),
    "asha": ("strategy=bo", "fidelity.stopping=asha"),
    "random asha": ("strategy=random", "fidelity.stopping=asha"),
}
MOST_TRIALS = 400  # of a study that ends by its GPU-hours


def overrides(settings: Record, folder: Path) -> list[str]:
    """Of the study of a run."""
    budget = settings["trials"] if settings["policy"] == "full" else MOST_TRIALS
    return [
        *SITE,
        *FAMILIES[settings["family"]],
        *POLICIES[settings["policy"]],
        *settings.get("more", "").split(),
        *(f"cluster.gpus_per_node={settings['gpus']}", f"batch.size={settings['gpus']}"),
        *(f"budget.trials={budget}", f"budget.gpu_hours={settings['hours'] or 'null'}"),
        *(f"seed={settings['seed']}", f"cluster.simulation_seed={settings['seed']}"),
        *(f"study.root={folder}", "study.name=study"),
    ]


def run(settings: Record) -> Record:
    """The study to its end; the true hypervolume of its completed trials by the GPU-hours used until then."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        assert tune(overrides(settings, Path(folder)), None, Console(quiet=True)) == 0
        paths = StudyPaths(Path(folder) / "study")
        study = load_study(paths.journal)
        completed = sorted(study.in_state(TrialState.COMPLETED), key=lambda trial: trial.ended_at)
        objectives = len(study.objectives)
        rows = [true_values(paths, trial.id)[:objectives] for trial in completed]
        hours = [gpu_hours(study, trial.ended_at) for trial in completed]
    return {
        **settings,
        "hours_used": [round(own, 4) for own in hours],
        "volumes": [round(own, 6) for own in hypervolumes(rows, REFERENCE[:objectives])],
        "trials_begun": len(study.trials),
        "stopped": len(study.in_state(TrialState.STOPPED)),
        "cpu_s": round(time.process_time() - began, 1),
    }


def true_values(paths: StudyPaths, trial: str) -> tuple[float, float]:
    """Loss and seconds of a configuration without their noise."""
    recipe = parse(TrialSpec.read(paths.trial(trial).spec).recipe)
    return recipe.eval_loss(), 1.0 + recipe.size


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
