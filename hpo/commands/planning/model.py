"""A study as it is simulated: its own budget, batches and retries, and trials as long as its own."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from hpo.controller.assembly import Assembly, gpus_of
from hpo.controller.compose import compose_config
from hpo.controller.config import RECIPE_GROUPS
from hpo.errors import InputError
from hpo.forecasts.coverage import coverage
from hpo.forecasts.time import pace
from hpo.formatting import duration
from hpo.study.gpu_hours import used
from hpo.study.snapshot import elapsed_s
from hpo.study.state import Study, TrialState

MOST_STEPS = 100  # of a trial whose kind cannot be simulated: how finely it is interrupted
CHECKPOINT_S = 60.0  # between checkpoints of a kind that does not say
RECIPE = (*RECIPE_GROUPS, "space", "objectives")
QUICK = ("experiment=none", "cluster=simulated", "strategy=sobol", "report.automatic=false")
# of the study's own cluster, where that is a true one
SITE = ("queue_wait", "time_limit", "signal_delay_s")


@dataclass(frozen=True)
class WorkTime:
    """How long trials take: the mean in seconds, the deviation of the logarithm, and who says so."""

    mean: float
    sigma: float
    source: str


@dataclass(frozen=True)
class Model:
    """What stands for the study in a run, and what that assumes.

    Args:
        raw: a composed configuration; names, seeds and root are of each run.
        gpus: cards of the study's trials for each card of the run's.
    """

    raw: Mapping[str, Any]
    gpus: int
    about: str


def model_of(parts: Assembly, study: Study) -> Model:
    """The study as it is simulated: Sobol points for its search, whose proposals hardly change its length.

    Raises:
        InputError: nothing is left, or nothing tells how long trials take.
    """
    raw, gpus = parts.raw, gpus_of(parts.raw) or 1
    if _can_be_simulated(parts.kind.target):
        composed, _ = compose_config([*QUICK, "trainer=synthetic", "space=none", "objectives=none"])
        composed |= {group: raw[group] for group in RECIPE}
        trials, gpus = "", 1
    else:
        composed, _ = compose_config([*QUICK, "trainer=synthetic", "objectives=loss"])
        work = work_time(parts, study)
        composed["trainer"] |= _as_long(work, raw["trainer"])
        trials = f", trials of {duration(work.mean)} on average ({work.source})"
    composed |= {
        "budget": _left(parts, study, gpus),
        "batch": {"size": parts.batch.size, "refill": parts.batch.refill},
        "fidelity": raw["fidelity"],
        "controller": {**raw["controller"], "chain": False, "propose_on": "login"},
    }
    composed["study"]["seed"] = parts.config.study.seed
    composed["cluster"] = _site(parts, composed["cluster"], gpus)
    return Model(composed, gpus, f"{_site_text(composed['cluster'], gpus)}{trials}")


def _can_be_simulated(target: str) -> bool:
    """Whether a trial kind says what its trials come to on a virtual clock."""
    module, _, function = target.partition(":")
    return hasattr(importlib.import_module(module), f"simulated_{function}")


def _site(parts: Assembly, simulated: Mapping[str, Any], gpus: int) -> dict[str, Any]:
    """Keys of the simulated cluster, on which each trial has one card."""
    told = parts.raw["cluster"]
    if parts.executor.name == "simulated":
        return dict(told)
    most = told.get("max_parallel") or parts.batch.size
    at_once = min(parts.executor.room()["at_once"] or parts.batch.size, most, parts.batch.size)
    rate = told.get("preemptions_per_gpu_hour", 0) * gpus
    own = {name: told[name] for name in SITE if name in told}
    return {**simulated, **own, "nodes": at_once, "gpus_per_node": 1, "preemptions_per_gpu_hour": rate}


def _site_text(site: Mapping[str, Any], gpus: int) -> str:
    at_once = site["nodes"] * site["gpus_per_node"]
    rate = site["preemptions_per_gpu_hour"] / gpus
    waits = duration(site["queue_wait"])
    return f"{at_once} at once, {rate:g} preemptions a GPU-hour, {waits} in the queue on average"


def _left(parts: Assembly, study: Study, gpus: int) -> dict[str, Any]:
    """The budget that is not spent yet.

    Raises:
        InputError: it is all spent.
    """
    limits = parts.limits
    trials = limits.trials - study.spent + len(study.in_flight)
    hours = limits.gpu_hours and (limits.gpu_hours - used(study).hours) / gpus
    walls = limits.wall_hours
    if walls and parts.paths.journal.exists():
        walls -= elapsed_s(study) / 3600
    if study.finished or trials < 1 or (hours or 1) <= 0 or (walls or 1) <= 0:
        raise InputError(
            [("--simulate", "the budget of this study is spent, so nothing is left to simulate")]
        )
    # What a search has left to gain is its own: a study that settles ends sooner than this.
    return {**parts.raw["budget"], "trials": trials, "gpu_hours": hours, "wall_hours": walls, "settle": None}


def _as_long(work: WorkTime, trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of synthetic trials that take as long."""
    every = trainer.get("checkpoint_every_s", CHECKPOINT_S)
    step = work.mean / MOST_STEPS
    return {"seconds": work.mean, "sigma": work.sigma, "step_seconds": step, "checkpoint_every_s": every}


def work_time(parts: Assembly, study: Study) -> WorkTime:
    """How long trials take: as those that are completed took, else as is foretold.

    Raises:
        InputError: nothing tells.
    """
    completed = {trial.id for trial in study.in_state(TrialState.COMPLETED)}
    took: dict[str, float] = {}
    for end in study.ends:
        if end.trial in completed:
            took[end.trial] = took.get(end.trial, 0.0) + end.useful(end.seconds)
    if took:
        logs = [math.log(max(seconds, 1e-3)) for seconds in took.values()]
        sigma = stdev(logs) if len(logs) > 1 else 0.0
        return WorkTime(fmean(took.values()), sigma, f"as the {len(took)} completed ones took")
    forecaster = parts.forecaster()
    memory = forecaster.memory(study)
    space = coverage(forecaster, memory, pace(forecaster, study, memory))
    if space is None or space.seconds is None or space.longest is None:
        text = "nothing tells how long trials take"
        needs = "cluster.gpu_tflops, cluster.gpu_memory_gb and the model's sizes (frontrunner prefetch)"
        hint = f"{needs} foretell it; later, trials that have completed"
        raise InputError([("--simulate", f"{text}\n\nhint: {hint}")])
    sigma = math.log(max(space.longest / space.seconds, 1.0)) / 2  # the longest two deviations from the mean
    return WorkTime(space.seconds, sigma, "as is foretold of their training")
