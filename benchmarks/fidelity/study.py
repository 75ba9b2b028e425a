"""One study on the simulated cluster, and what it had found after how many GPU-hours."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from benchmarks.fidelity.moasha import Moasha
from benchmarks.fidelity.outcome import HOUR_S, Outcome, Span, gpu_hours, summary
from benchmarks.fidelity.replay import replay
from benchmarks.records import Record
from hpo.commands.tune import tune
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.paths import StudyPaths
from hpo.records import TrialSpec
from hpo.study.journal import load_study
from hpo.study.state import Study, Trial, TrialState
from jobs.recipes.recorded import load
from jobs.recipes.synthetic import parse

TABLES = Path(__file__).parent.parent / "finetunes" / "tables"
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
    "full per second": ("strategy=bo", "strategy.acquisition=auto_per_gpu_second", "fidelity.stopping=none"),
    "gain": ("strategy=bo", "fidelity.stopping=gain"),
    "asha": ("strategy=bo", "fidelity.stopping=asha"),
    "random asha": ("strategy=random", "fidelity.stopping=asha"),
    # what the study has but for Syne Tune, which proposes and stops in place of these
    "moasha": ("strategy=random", "fidelity.stopping=asha"),
    "moasha ranked": ("strategy=random", "fidelity.stopping=asha"),
}
RANKED = {"moasha": False, "moasha ranked": True}  # see `benchmarks.fidelity.moasha`
MOST = 8  # trials of a study that ends by its GPU-hours, for each of the full-length search


def overrides(settings: Record, family: Family, folder: Path) -> list[str]:
    """Of the study of a run."""
    budget = settings["trials"] if settings["policy"] == "full" else MOST * settings["trials"]
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
    """The study to its end."""
    began, family = time.process_time(), FAMILIES[settings["family"]]()
    with tempfile.TemporaryDirectory() as folder:
        own = overrides(settings, family, Path(folder))
        outcome = replayed(settings, own) if settings["policy"] in RANKED else tuned(own, Path(folder))
    found = summary(outcome, family.reference, family.true_values)
    return {**settings, **found, "cpu_s": round(time.process_time() - began, 1)}


def replayed(settings: Record, overrides: Sequence[str]) -> Outcome:
    """Of Syne Tune."""
    parts = assemble(*compose_config(overrides, None))
    ranked = RANKED[settings["policy"]]
    scheduler = Moasha(parts.space, len(parts.objectives), settings["seed"], ranked=ranked)
    return replay(parts, scheduler, settings["gpus"])


def tuned(overrides: Sequence[str], folder: Path) -> Outcome:
    """Of this project, on its simulated cluster."""
    assert tune(overrides, None, Console(quiet=True)) == 0
    paths = StudyPaths(folder / "study")
    study = load_study(paths.journal)

    def recipes(trials: Iterable[Trial]) -> list[dict[str, Any]]:
        return [TrialSpec.read(paths.trial(trial.id).spec).recipe for trial in trials]

    completed = sorted(study.in_state(TrialState.COMPLETED), key=lambda trial: trial.ended_at)
    own = spans(study)
    return Outcome(
        completed=recipes(completed),
        hours=[gpu_hours(own, _moment(trial.ended_at)) for trial in completed],
        stopped=recipes(study.in_state(TrialState.STOPPED)),
        begun=len(study.trials),
        objectives=len(study.objectives),
    )


def spans(study: Study) -> list[Span]:
    """Of all attempts; one on several GPUs counts for each."""
    found = []
    for end in study.ends:
        last = _moment(end.at)
        found += [(last - end.seconds, last)] * max(1, end.gpus)
    return found


def _moment(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def main() -> None:
    """Run what the first argument says as JSON, and print the record."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(run(settings)))


if __name__ == "__main__":
    main()
