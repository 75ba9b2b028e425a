"""How a study converged: hypervolume and incumbents after each result, and what had been spent by then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hpo.objectives import Objectives
from hpo.pareto import hypervolumes, incumbents, reference_point
from hpo.study.gpu_hours import measured
from hpo.study.learning_curves import thinned
from hpo.study.snapshot import measured_trials, objective_row
from hpo.study.state import Study

_MOST_VOLUMES = 150  # with three and more objectives each one is dear


@dataclass(frozen=True)
class Convergence:
    """One row for each completed trial, in the order of completion.

    Args:
        trials: their numbers.
        gpu_hours: spent by every attempt that was over by then, whatever became of it.
        hours: since the study was created.
        rows: their objectives, signed so that less is better.
        volumes: hypervolumes of the results so far, all from `reference`.
        counted: after how many results each volume was taken.
        reference: the reference point that all results imply.
    """

    trials: list[int]
    gpu_hours: list[float]
    hours: list[float]
    rows: list[tuple[float, ...]]
    volumes: list[float]
    counted: list[int]
    reference: tuple[float, ...]

    def incumbents(self, objective: int) -> list[float]:
        """The best value of one objective after each result, signed so that less is better."""
        return incumbents(row[objective] for row in self.rows)

    def last_gain(self) -> int | None:
        """After how many results the hypervolume last grew; None without a result."""
        grown = [
            count
            for before, now, count in zip([0.0, *self.volumes], self.volumes, self.counted, strict=False)
            if now > before * (1 + 1e-9)
        ]
        return grown[-1] if grown else None


def convergence(study: Study, objectives: Objectives) -> Convergence:
    """Follow a study from result to result."""
    trials, spent, hours, rows = [], [], [], []
    shown = {trial.id for trial in measured_trials(study, objectives)}
    gpu_seconds = 0.0
    for end in study.ends:
        seconds, gpus = measured(study, end)
        gpu_seconds += seconds * gpus
        trial = study.trials[end.trial]
        if end.cause is None and trial.id in shown:
            trials.append(trial.number)
            spent.append(gpu_seconds / 3600)
            hours.append(_hours_between(study.created_at, end.at))
            rows.append(objective_row(trial, objectives))
    reference = reference_point(rows, objectives)
    counted = _counted(len(rows), len(objectives))
    return Convergence(trials, spent, hours, rows, hypervolumes(rows, reference, counted), counted, reference)


def _hours_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() / 3600


def _counted(results: int, objectives: int) -> list[int]:
    every = range(1, results + 1)
    return list(every) if objectives <= 2 else thinned(every, _MOST_VOLUMES)
