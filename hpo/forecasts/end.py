"""When a study will end and what it will still cost, at its pace so far. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hpo.study.snapshot import Snapshot, elapsed_s
from hpo.study.state import ENDED, Study

RECENT = 8  # ended trials that make the pace, or two batches where that is more


@dataclass(frozen=True)
class EndForecast:
    """What is left of a study."""

    seconds: float
    gpu_hours: float


def forecast_end(snapshot: Snapshot) -> EndForecast | None:
    """Foretell the end: by the part of the budget that will be spent first.

    Time is foretold from the trials that ended last, so that a night in which no controller was at work
    is forgotten in time; GPU-hours from all of them.

    Returns:
        None before a trial has ended, while the study is paused, and when it is over or stopped.
    """
    study = snapshot.study
    budget = study.settings.get("budget", {})
    ended = study.spent - len(study.in_flight)
    over = study.finished or study.stopped or snapshot.paths.pause.exists()
    if over or not ended or not budget.get("trials"):
        return None
    records = [running.progress for running in snapshot.running]
    begun = sum(progress.step / max(progress.steps, 1) for progress in records)
    pace = _trials_per_s(study, begun)
    hours_each = snapshot.usage.hours / (ended + begun)
    trials_left = max(budget["trials"] - ended - begun, 0.0)
    seconds = [trials_left / pace]
    if budget.get("wall_hours"):
        seconds.append(budget["wall_hours"] * 3600 - elapsed_s(study))
    if budget.get("gpu_hours") and hours_each:
        seconds.append((budget["gpu_hours"] - snapshot.usage.hours) / hours_each / pace)
    shortest = max(min(seconds), 0.0)
    return EndForecast(shortest, shortest * pace * hours_each)


def _trials_per_s(study: Study, begun: float) -> float:
    """Trials a second: of the last ones that ended, and of what is done of those at work."""
    ends = sorted(trial.ended_at for trial in study.trials.values() if trial.state in ENDED)
    recent = max(RECENT, 2 * int(study.settings.get("batch", {}).get("size", 0)))
    if len(ends) <= recent:
        return (len(ends) + begun) / max(elapsed_s(study), 1e-3)
    since = datetime.fromisoformat(ends[-recent - 1])
    start = datetime.fromisoformat(study.created_at)
    return (recent + begun) / max(elapsed_s(study) - (since - start).total_seconds(), 1e-3)
